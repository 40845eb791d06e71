//! `keyref inspect`: components and what they refer to. Fetches nothing.

use std::fmt::Write as _;

use anyhow::Result;
use keyref::component::Origin;
use keyref::problem::{Problem, terminal_safe as safe};
use keyref::{InspectedComponent, InspectedReference};

use super::arguments::{Format, Global, InspectArguments};
use super::given::Need;
use super::json::{self, Inspected, InspectedShape};
use super::{Status, diagnostics, output, session};

pub(super) async fn run(global: &Global, arguments: &InspectArguments) -> Result<Status> {
    let mut session = match session::open(global, &arguments.documents, Need::Names).await? {
        Ok(session) => session,
        Err(refused) => {
            print(&[], &refused.problems, arguments.format)?;
            return Ok(refused.print(global));
        }
    };
    let documents = std::mem::take(&mut session.documents);
    let inspection = session.resolver.inspect(documents, &session.context).await;
    let mut problems = inspection.problems;
    let references = inspection
        .components
        .iter()
        .flat_map(|found| &found.references);
    let references: Vec<_> = references.map(|found| found.origin.clone()).collect();
    problems.extend(std::mem::take(&mut session.problems));
    problems.extend(session.slips(&inspection.stores, &references));
    print(&inspection.components, &problems, arguments.format)?;
    session::print_stats(global, &inspection.stats);
    diagnostics::print(&problems, &session.sources, global);
    Ok(session::status(&problems))
}

fn print(components: &[InspectedComponent], problems: &[Problem], format: Format) -> Result<()> {
    let shape = || Inspected {
        components: components.iter().map(InspectedShape::from).collect(),
        problems: json::problems(problems),
    };
    match format {
        Format::Text => Ok(output::data(text(components).as_bytes())?),
        Format::Json => output::json(&shape()),
        Format::Yaml => output::yaml(&shape()),
    }
}

fn text(components: &[InspectedComponent]) -> String {
    let mut out = String::new();
    for inspected in components {
        let component = &inspected.component;
        let kind = session::type_of(component);
        let _ = writeln!(out, "{} ({})", safe(&component.name), safe(&kind));
        for reference in &inspected.references {
            if let Some(item) = component.items.get(reference.item) {
                let _ = writeln!(
                    out,
                    "  {}  {}  {}  {}",
                    item.position,
                    safe(&item.name),
                    safe(&origin(&reference.origin)),
                    decision(reference)
                );
            }
        }
    }
    out
}

fn origin(origin: &Origin) -> String {
    match origin {
        Origin::Secret {
            store, secret, key, ..
        } => format!("{store}: {secret}, {key}"),
        Origin::Variable(name) => format!("environment: {name}"),
        _ => String::new(),
    }
}

fn decision(reference: &InspectedReference) -> &str {
    reference
        .refusal
        .as_ref()
        .map_or("allowed", |refusal| refusal.class.code())
}
