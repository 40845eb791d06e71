//! `keyref check`: whether documents resolve. Prints no value ever.

use anyhow::Result;
use keyref::InspectedComponent;
use serde::Serialize;

use super::arguments::{CheckArguments, CheckFormat, Global};
use super::json::{self, ProblemShape};
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
    let (components, stores, references, mut problems) = if arguments.offline {
        let inspection = session.resolver.inspect(documents, &session.context).await;
        session::print_stats(global, &inspection.stats);
        let refusals = inspection
            .components
            .iter()
            .flat_map(InspectedComponent::problems);
        let problems: Vec<_> = inspection.problems.into_iter().chain(refusals).collect();
        let references = inspection
            .components
            .iter()
            .flat_map(|found| &found.references);
        let references: Vec<_> = references.map(|found| found.origin.clone()).collect();
        (
            inspection.components.len(),
            inspection.stores,
            references,
            problems,
        )
    } else {
        let work = session.resolver.resolve(documents, &session.context);
        let resolution = session::wait(global, "checking", work).await;
        session::print_stats(global, &resolution.stats);
        (
            resolution.stats.components,
            resolution.stores,
            resolution.references,
            resolution.problems,
        )
    };
    problems.extend(session.resolver.unused_policy(&stores, &references));
    let references = references.len();
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
