//! `keyref resolve`: components with their references resolved.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use keyref::component::{Origin, Property, ResolvedComponent, Value};
use keyref::error::Class;
use keyref::problem::{Problem, terminal_safe as safe};
use zeroize::Zeroizing;

use super::arguments::{Global, ResolveArguments, ResolveFormat};
use super::given::Need;
use super::json::{self, MASKED, Resolved, ResolvedShape};
use super::{Status, diagnostics, output, session, waiting};

pub(super) async fn run(global: &Global, arguments: &ResolveArguments) -> Result<Status> {
    if arguments.format == ResolveFormat::Env && !arguments.reveal {
        bail!("`--format env` prints values, so it needs `--reveal`");
    }
    let mut session = match session::open(global, &arguments.documents, Need::Values).await? {
        Ok(session) => session,
        Err(refused) => {
            print_shapes(Vec::new(), &refused.problems, arguments.format)?;
            return Ok(refused.print(global));
        }
    };
    let documents = std::mem::take(&mut session.documents);
    let work = session.resolver.resolve(documents, &session.context);
    let mut resolution = waiting::wait(global, "resolving", work).await;
    let mut problems = std::mem::take(&mut resolution.problems);
    problems.extend(std::mem::take(&mut session.problems));
    problems.extend(session.slips(&resolution.stores, &resolution.references));
    let (components, shapes) = printable(&resolution.components, arguments.reveal, &mut problems);
    match arguments.format {
        ResolveFormat::Text => print_text(&components, arguments.reveal)?,
        ResolveFormat::Env => print_env(&components, &mut problems)?,
        ResolveFormat::Json | ResolveFormat::Yaml => {
            print_shapes(shapes, &problems, arguments.format)?;
        }
    }
    diagnostics::print(&problems, &session.sources, global);
    session::print_stats(global, &resolution.stats);
    Ok(session::status(&problems))
}

/// Prints for programs; nothing where the format is for people.
fn print_shapes(
    components: Vec<ResolvedShape<'_>>,
    problems: &[Problem],
    format: ResolveFormat,
) -> Result<()> {
    let problems = json::problems(problems);
    let shape = Resolved {
        components,
        problems,
    };
    match format {
        ResolveFormat::Json => output::json(&shape),
        ResolveFormat::Yaml => output::yaml(&shape),
        ResolveFormat::Text | ResolveFormat::Env => Ok(()),
    }
}

/// The components that can be printed; a value that is not text keeps its component out.
fn printable<'r>(
    components: &'r [ResolvedComponent],
    reveal: bool,
    problems: &mut Vec<Problem>,
) -> (Vec<&'r ResolvedComponent>, Vec<ResolvedShape<'r>>) {
    let mut printable = Vec::with_capacity(components.len());
    for component in components {
        match ResolvedShape::new(component, reveal) {
            Ok(shape) => printable.push((component, shape)),
            Err(problem) => problems.push(*problem),
        }
    }
    printable.into_iter().unzip()
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
        Origin::Secret {
            store, secret, key, ..
        } => format!("  <- {store}: {secret}, {key}"),
        Origin::Variable(name) => format!("  <- environment: {name}"),
        _ => String::new(),
    }
}

/// `COMPONENT_PROPERTY='value'`, names in upper case with `_` for what a shell does not take. A
/// component of which a property cannot be such a variable is left out whole.
fn print_env(components: &[&ResolvedComponent], problems: &mut Vec<Problem>) -> Result<()> {
    let mut lines: BTreeMap<String, Zeroizing<String>> = BTreeMap::new();
    for resolved in components {
        match variables(resolved, &lines) {
            Ok(variables) => lines.extend(variables),
            Err(problem) => problems.push(*problem),
        }
    }
    let length = lines
        .iter()
        .map(|(name, value)| name.len() + value.len() + 2);
    let mut out = Zeroizing::new(String::with_capacity(length.sum()));
    for (name, value) in &lines {
        out.extend([name, "=", value, "\n"]);
    }
    Ok(output::data(out.as_bytes())?)
}

/// The variables of a component, each with its value in quotes; none may be known already.
fn variables(
    resolved: &ResolvedComponent,
    known: &BTreeMap<String, Zeroizing<String>>,
) -> Result<BTreeMap<String, Zeroizing<String>>, Box<Problem>> {
    let mut variables = BTreeMap::new();
    for property in &resolved.properties {
        let refused = |class, message: String, hint: &str| {
            let problem = Problem::new(class, Some(property.position.clone()), message, hint);
            Err(Box::new(
                problem.about(&resolved.component.name, &property.name),
            ))
        };
        let value = match &property.value {
            Value::Plain(text) => text.as_str(),
            Value::Secret(value) => json::text(value, &resolved.component, property)?,
            _ => continue,
        };
        if value.contains('\0') {
            let message = "the value has a NUL, which no variable can hold".to_owned();
            let hint = "take another format: `--format json` holds it";
            return refused(Class::ValueNotText, message, hint);
        }
        let name = variable(&resolved.component.name, &property.name);
        if is_obeyed(&name) {
            let message =
                format!("programs would obey the variable `{name}`, or run what it names");
            let hint = "rename the component or its property, or take another format";
            return refused(Class::DocumentSchema, message, hint);
        }
        if known.contains_key(&name) || variables.insert(name.clone(), quoted(value)).is_some() {
            let message = format!("two properties would both be the variable `{name}`");
            let hint = "rename one of the two, or take another format";
            return refused(Class::DocumentSchema, message, hint);
        }
    }
    Ok(variables)
}

/// Whether a shell, a loader or a common tool is known to do what a variable of this name says: a
/// manifest should not run a program where its values are put into an environment.
fn is_obeyed(name: &str) -> bool {
    const BEGINNINGS: [&str; 4] = ["BASH_", "DYLD_", "GIT_CONFIG_", "LD_"];
    const NAMES: [&str; 19] = [
        "DOTNET_STARTUP_HOOKS",
        "GIT_ASKPASS",
        "GIT_EDITOR",
        "GIT_EXEC_PATH",
        "GIT_EXTERNAL_DIFF",
        "GIT_PAGER",
        "GIT_PROXY_COMMAND",
        "GIT_SEQUENCE_EDITOR",
        "GIT_SSH",
        "GIT_SSH_COMMAND",
        "GIT_TEMPLATE_DIR",
        "JAVA_TOOL_OPTIONS",
        "JDK_JAVA_OPTIONS",
        "NODE_OPTIONS",
        "NODE_PATH",
        "OPENSSL_CONF",
        "PROMPT_COMMAND",
        "SSH_ASKPASS",
        "_JAVA_OPTIONS",
    ];
    NAMES.contains(&name) || BEGINNINGS.iter().any(|begin| name.starts_with(begin))
}

/// A value in single quotes, in one piece of memory: what grows leaves a copy behind.
fn quoted(value: &str) -> Zeroizing<String> {
    const QUOTE: &str = r"'\''";
    let length = value.len() + (QUOTE.len() - 1) * value.matches('\'').count() + 2;
    let mut out = Zeroizing::new(String::with_capacity(length));
    out.push('\'');
    let mut pieces = value.split('\'');
    out.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        out.extend([QUOTE, piece]);
    }
    out.push('\'');
    out
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
    use super::{quoted, variable};

    #[test]
    fn quotes_are_what_a_shell_takes() {
        for (value, expected) in [("", "''"), ("a b", "'a b'"), ("it's", r"'it'\''s'")] {
            let quoted = quoted(value);
            assert_eq!(*quoted, expected);
            assert_eq!(quoted.capacity(), expected.len());
        }
    }

    #[test]
    fn names_are_what_a_shell_takes() {
        assert_eq!(
            variable("kafka-pubsub", "saslPassword"),
            "KAFKA_PUBSUB_SASLPASSWORD"
        );
        assert_eq!(variable("1db", "user.name"), "_1DB_USER_NAME");
    }
}
