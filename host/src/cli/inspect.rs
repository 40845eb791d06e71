//! `keyref inspect`: components and what they refer to. Fetches nothing.

use std::fmt::Write as _;

use anyhow::Result;
use keyref::component::Origin;
use keyref::problem::terminal_safe as safe;
use keyref::{InspectedComponent, InspectedReference};

use super::arguments::{Format, Global, InspectArguments};
use super::json::{self, Inspected, InspectedShape};
use super::{Status, diagnostics, output, session};

pub(super) async fn run(global: &Global, arguments: &InspectArguments) -> Result<Status> {
    let Ok(mut session) = session::open(global, &arguments.documents)? else {
        return Ok(Status::Fault);
    };
    let documents = std::mem::take(&mut session.documents);
    let inspection = session.resolver.inspect(documents, &session.context).await;
    let shape = || Inspected {
        components: inspection
            .components
            .iter()
            .map(InspectedShape::from)
            .collect(),
        problems: json::problems(&inspection.problems),
    };
    match arguments.format {
        Format::Text => output::data(text(&inspection.components).as_bytes())?,
        Format::Json => output::json(&shape())?,
        Format::Yaml => output::yaml(&shape())?,
    }
    session::print_stats(global, &inspection.stats);
    diagnostics::print(&inspection.problems, &session.sources, global);
    Ok(session::status(&inspection.problems))
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
        Origin::Secret { store, secret, key } => format!("{store}: {secret}, {key}"),
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
