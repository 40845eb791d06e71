//! `keyref resolve`: components with their references resolved.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use keyref::component::{Origin, Property, ResolvedComponent, Value};
use keyref::problem::{Problem, terminal_safe as safe};
use zeroize::Zeroizing;

use super::arguments::{Global, ResolveArguments, ResolveFormat};
use super::json::{self, MASKED, Resolved, ResolvedShape};
use super::{Status, diagnostics, output, session};

pub(super) async fn run(global: &Global, arguments: &ResolveArguments) -> Result<Status> {
    if arguments.format == ResolveFormat::Env && !arguments.reveal {
        bail!("`--format env` prints values, so it needs `--reveal`");
    }
    let Ok(mut session) = session::open(global, &arguments.documents)? else {
        return Ok(Status::Fault);
    };
    let documents = std::mem::take(&mut session.documents);
    let work = session.resolver.resolve(documents, &session.context);
    let mut resolution = session::wait(global, "resolving", work).await;
    let mut problems = std::mem::take(&mut resolution.problems);
    let components = printable(&resolution.components, arguments.reveal, &mut problems);
    match arguments.format {
        ResolveFormat::Text => print_text(&components, arguments.reveal)?,
        ResolveFormat::Env => print_env(&components)?,
        ResolveFormat::Json | ResolveFormat::Yaml => {
            let shapes = components
                .iter()
                .filter_map(|component| ResolvedShape::new(component, arguments.reveal).ok());
            let shape = Resolved {
                components: shapes.collect(),
                problems: json::problems(&problems),
            };
            match arguments.format {
                ResolveFormat::Json => output::json(&shape)?,
                _ => output::yaml(&shape)?,
            }
        }
    }
    diagnostics::print(&problems, &session.sources, global);
    session::print_stats(global, &resolution.stats);
    Ok(session::status(&problems))
}

/// The components that can be printed; a value that is not text keeps its component out.
fn printable<'r>(
    components: &'r [ResolvedComponent],
    reveal: bool,
    problems: &mut Vec<Problem>,
) -> Vec<&'r ResolvedComponent> {
    let mut printable = Vec::with_capacity(components.len());
    for component in components {
        match ResolvedShape::new(component, reveal) {
            Ok(_) => printable.push(component),
            Err(problem) => problems.push(*problem),
        }
    }
    printable
}

fn print_text(components: &[&ResolvedComponent], reveal: bool) -> Result<()> {
    let mut out = Zeroizing::new(String::new());
    for (index, resolved) in components.iter().enumerate() {
        if index > 0 {
            out.push('\n');
        }
        let component = &resolved.component;
        let (name, kind) = (safe(&component.name), safe(&session::type_of(component)));
        out.extend([&name, " (", &kind, ")\n"]);
        let length = |property: &Property| safe(&property.name).chars().count();
        let width = resolved.properties.iter().map(length).max();
        for property in &resolved.properties {
            let value = shown(resolved, property, reveal);
            let origin = property.origin.as_ref().map(origin).unwrap_or_default();
            let (name, origin) = (safe(&property.name), safe(&origin));
            // Piece by piece, because what is formatted first is not wiped.
            let blanks = " ".repeat(width.unwrap_or_default() - length(property) + 2);
            out.extend(["  ", &name, &blanks, &value, &origin, "\n"]);
        }
    }
    Ok(output::data(out.as_bytes())?)
}

/// A value for one line: escaped where it has more.
fn shown(component: &ResolvedComponent, property: &Property, reveal: bool) -> Zeroizing<String> {
    let text = match &property.value {
        Value::Plain(text) => text.as_str(),
        Value::Secret(value) if reveal => {
            json::text(value, &component.component, property).unwrap_or(MASKED)
        }
        _ => MASKED,
    };
    Zeroizing::new(safe(text))
}

fn origin(origin: &Origin) -> String {
    match origin {
        Origin::Secret { store, secret, key } => format!("  <- {store}: {secret}, {key}"),
        Origin::Variable(name) => format!("  <- environment: {name}"),
        _ => String::new(),
    }
}

/// `COMPONENT_PROPERTY='value'`, names in upper case with `_` for what a shell does not take.
fn print_env(components: &[&ResolvedComponent]) -> Result<()> {
    let mut lines: BTreeMap<String, Zeroizing<String>> = BTreeMap::new();
    for resolved in components {
        for property in &resolved.properties {
            let name = variable(&resolved.component.name, &property.name);
            let value = match &property.value {
                Value::Plain(text) => text.as_str(),
                Value::Secret(value) => {
                    json::text(value, &resolved.component, property).unwrap_or_default()
                }
                _ => continue,
            };
            if value.contains('\0') {
                bail!(
                    "property `{}` of `{}` has a NUL, which no variable can hold",
                    safe(&property.name),
                    safe(&resolved.component.name)
                );
            }
            let quoted = Zeroizing::new(format!("'{}'", value.replace('\'', r"'\''")));
            if lines.insert(name.clone(), quoted).is_some() {
                bail!("two properties would both be the variable `{name}`");
            }
        }
    }
    let mut out = Zeroizing::new(String::new());
    for (name, value) in &lines {
        out.push_str(name);
        out.push('=');
        out.push_str(value);
        out.push('\n');
    }
    Ok(output::data(out.as_bytes())?)
}

fn variable(component: &str, property: &str) -> String {
    let mut name = String::new();
    if component.starts_with(|first: char| first.is_ascii_digit()) {
        name.push('_');
    }
    for character in component.chars().chain(['_']).chain(property.chars()) {
        let plain = character.is_ascii_alphanumeric();
        name.push(if plain {
            character.to_ascii_uppercase()
        } else {
            '_'
        });
    }
    name
}

#[cfg(test)]
mod tests {
    use super::variable;

    #[test]
    fn names_are_what_a_shell_takes() {
        assert_eq!(
            variable("kafka-pubsub", "saslPassword"),
            "KAFKA_PUBSUB_SASLPASSWORD"
        );
        assert_eq!(variable("1db", "user.name"), "_1DB_USER_NAME");
    }
}
