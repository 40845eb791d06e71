//! The part of a document that says who goes by which policies.

use serde_yaml::Value;

use crate::resiliency::definitions::{Definitions, Directions, Names};
use crate::resiliency::document::{Kind, Named};
use crate::resiliency::fields::Fields;

/// Reads `spec.targets`. Apps that are called and actors have no meaning here; what is wrong with
/// them is told all the same.
pub(super) fn read(
    fields: &mut Fields,
    value: &Value,
    into: &mut Definitions,
    named: &mut Vec<Named>,
) {
    fields.each(
        value,
        &["actors", "apps", "components"],
        |fields, kind, value| {
            fields.entries(value, |fields, name, value| match kind {
                "components" => {
                    let mut directions = Directions::default();
                    fields.each(
                        value,
                        &["inbound", "outbound"],
                        |fields, direction, value| {
                            let names = names(fields, value, &[], named);
                            match direction {
                                "inbound" => directions.inbound = names,
                                _ => directions.outbound = names,
                            }
                        },
                    );
                    into.components.insert(name.to_owned(), directions);
                }
                "apps" => {
                    names(fields, value, &["circuitBreakerCacheSize"], named);
                }
                _ => actor(fields, value, named),
            });
            let has_any = value
                .as_mapping()
                .is_some_and(|targets| !targets.is_empty());
            if kind != "components" && has_any {
                into.without_effect.push(format!("spec.targets.{kind}"));
            }
        },
    );
}

fn actor(fields: &mut Fields, value: &Value, named: &mut Vec<Named>) {
    let own = ["circuitBreakerCacheSize", "circuitBreakerScope"];
    let has_breaker = !names(fields, value, &own, named).breaker.is_empty();
    let scope = value.get("circuitBreakerScope").and_then(Value::as_str);
    if has_breaker && !matches!(scope, Some("type" | "id" | "both")) {
        let hint = "write `circuitBreakerScope: type`, `id` or `both`";
        fields.refuse("circuit breakers of actors need a scope", hint);
    }
}

fn names(
    fields: &mut Fields,
    value: &Value,
    others: &[&'static str],
    named: &mut Vec<Named>,
) -> Names {
    let mut names = Names::default();
    let known = [&["circuitBreaker", "retry", "timeout"], others].concat();
    fields.each(value, &known, |fields, field, value| {
        let (kind, into) = match field {
            "timeout" => (Kind::Timeout, &mut names.timeout),
            "retry" => (Kind::Retry, &mut names.retry),
            "circuitBreaker" => (Kind::CircuitBreaker, &mut names.breaker),
            "circuitBreakerScope" => {
                fields.text(value);
                return;
            }
            _ => {
                fields.number(value);
                return;
            }
        };
        let name = fields.text(value);
        if !name.is_empty() {
            let spot = fields.spot();
            into.clone_from(&name);
            named.push(Named { kind, name, spot });
        }
    });
    names
}
