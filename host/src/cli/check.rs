//! `keyref check`: whether documents resolve. Prints no value ever.

use std::collections::BTreeSet;

use anyhow::Result;
use keyref::component::Origin;
use keyref::problem::Problem;
use serde::Serialize;

use super::arguments::{CheckArguments, CheckFormat, Global};
use super::json::{self, ProblemShape};
use super::session::Session;
use super::{Status, diagnostics, output, sarif, session};

#[derive(Serialize)]
struct Checked<'c> {
    components: usize,
    references: usize,
    problems: Vec<ProblemShape<'c>>,
}

pub(super) async fn run(global: &Global, arguments: &CheckArguments) -> Result<Status> {
    let Ok(mut session) = session::open(global, &arguments.documents)? else {
        return Ok(Status::Fault);
    };
    let documents = std::mem::take(&mut session.documents);
    let inspection = session
        .resolver
        .inspect(documents.clone(), &session.context)
        .await;
    let references: usize = inspection
        .components
        .iter()
        .map(|component| component.references.len())
        .sum();
    let mut problems = inspection.problems;
    let unused = unused(&session, &inspection.components);
    let components = inspection.components.len();
    if arguments.offline {
        for component in &inspection.components {
            problems.extend(refusals(component));
        }
    } else {
        let work = session.resolver.resolve(documents, &session.context);
        let resolution = session::wait(global, "checking", work).await;
        session::print_stats(global, &resolution.stats);
        // Resolving finds all that inspecting finds, and what the stores say.
        problems = resolution.problems;
    }
    problems.extend(unused);
    let checked = Checked {
        components,
        references,
        problems: json::problems(&problems),
    };
    match arguments.format {
        CheckFormat::Text => {
            diagnostics::print(&problems, &session.sources, global);
            if session::status(&problems) == Status::Done {
                output::data(
                    format!("{components} components, {references} references: all is well\n")
                        .as_bytes(),
                )?;
            }
        }
        CheckFormat::Json => output::json(&checked)?,
        CheckFormat::Yaml => output::yaml(&checked)?,
        CheckFormat::Sarif => output::json(&sarif::log(&problems))?,
    }
    Ok(session::status(&problems))
}

/// References that would be refused before any store is asked.
fn refusals(inspected: &keyref::InspectedComponent) -> Vec<Problem> {
    let component = &inspected.component;
    let refused = inspected.references.iter().filter_map(|reference| {
        let refusal = reference.refusal.as_ref()?;
        let item = component.items.get(reference.item)?;
        let problem = Problem::new(
            refusal.class,
            Some(item.position.clone()),
            refusal.message.clone(),
            refusal.hint.clone(),
        );
        Some(problem.about(&component.name, &item.name))
    });
    refused.collect()
}

/// Entries of the policy that nothing uses.
fn unused(session: &Session, components: &[keyref::InspectedComponent]) -> Vec<Problem> {
    let mut stores: BTreeSet<String> = session.resolver.stores().into_iter().collect();
    let mut used = BTreeSet::new();
    for inspected in components {
        if inspected.component.is_secret_store() {
            stores.insert(inspected.component.name.clone());
        }
        for reference in &inspected.references {
            if let Origin::Secret { store, secret, .. } = &reference.origin {
                used.insert((store.clone(), secret.clone()));
            }
        }
    }
    session.resolver.policy().unused(&stores, &used)
}
