//! The part of a document that has policies.

use serde_yaml::Value;

use crate::resiliency::breaker::BreakerRule;
use crate::resiliency::codes;
use crate::resiliency::definitions::{Definitions, admitted};
use crate::resiliency::fields::Fields;
use crate::resiliency::retry::{Backoff, Retry};
use crate::resiliency::trip::Trip;

/// Reads `spec.policies`.
pub(super) fn read(fields: &mut Fields, value: &Value, into: &mut Definitions) {
    let known = ["circuitBreakers", "retries", "timeouts"];
    fields.each(value, &known, |fields, kind, value| {
        fields.entries(value, |fields, name, value| match kind {
            "timeouts" => {
                if value.is_null() || value.as_str() == Some("") {
                    fields.refuse("this is no duration", "write one, such as `5s`");
                } else if let Some(timeout) = fields.duration(value) {
                    into.timeouts.insert(name.to_owned(), timeout);
                }
            }
            "retries" => {
                let retry = retry(fields, value);
                let (admitted, said) = admitted(name, retry);
                if let Some(said) = said {
                    fields.warn(said);
                }
                into.retries
                    .extend(admitted.map(|retry| (name.to_owned(), retry)));
            }
            _ => {
                let breaker = breaker(fields, value);
                into.breakers.insert(name.to_owned(), breaker);
            }
        });
    });
}

fn retry(fields: &mut Fields, value: &Value) -> Retry {
    let (mut is_exponential, mut most) = (false, None);
    let (mut pause, mut longest) = (Retry::DEFAULT_PAUSE, Retry::DEFAULT_LONGEST);
    let known = [
        "duration",
        "matching",
        "maxInterval",
        "maxRetries",
        "policy",
    ];
    fields.each(value, &known, |fields, field, value| match field {
        "policy" => match fields.text(value).to_lowercase().as_str() {
            "" | "constant" => is_exponential = false,
            "exponential" => is_exponential = true,
            _ => {
                let hint = "write `policy: constant` or `policy: exponential`";
                fields.refuse("this is no kind of retries", hint);
            }
        },
        "duration" => pause = fields.duration(value).unwrap_or(pause),
        "maxInterval" => longest = fields.duration(value).unwrap_or(longest),
        "maxRetries" => {
            // Below zero there is no bound.
            most = fields
                .number(value)
                .and_then(|number| u64::try_from(number).ok());
        }
        _ => codes::read(fields, value),
    });
    let until = Retry::DEFAULT_UNTIL;
    let backoff = if is_exponential {
        Backoff::Exponential { longest, until }
    } else {
        Backoff::Constant(pause)
    };
    Retry { backoff, most }
}

fn breaker(fields: &mut Fields, value: &Value) -> BreakerRule {
    let mut rule = BreakerRule::default();
    let known = ["interval", "maxRequests", "timeout", "trip"];
    fields.each(value, &known, |fields, field, value| match field {
        "maxRequests" => match fields.number(value).map(u32::try_from) {
            Some(Ok(number)) => rule.most_requests = number.max(1),
            Some(Err(_)) => fields.refuse("this many requests cannot be", "write a small number"),
            None => {}
        },
        "interval" => {
            let interval = fields.duration(value);
            rule.interval = interval.filter(|interval| !interval.is_zero());
        }
        "timeout" => {
            let timeout = fields.duration(value).filter(|timeout| !timeout.is_zero());
            rule.open_for = timeout.unwrap_or(rule.open_for);
        }
        _ => {
            let text = fields.text(value);
            match Trip::parse(&text) {
                Ok(trip) => rule.trip = trip,
                Err(_) if text.is_empty() => {}
                Err(wrong) => {
                    let message = format!("the expression is not understood: {wrong}");
                    let hint = "compare `requests`, `totalFailures`, `totalSuccesses`, \
                                `consecutiveFailures` or `consecutiveSuccesses` with numbers, such \
                                as `consecutiveFailures >= 5`";
                    fields.refuse(message, hint);
                }
            }
        }
    });
    rule
}
