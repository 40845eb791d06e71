//! `keyref check`: whether documents resolve. Prints no value ever.

use std::sync::Arc;

use anyhow::Result;
use keyref::InspectedComponent;
use keyref::problem::Problem;
use serde::Serialize;

use super::arguments::{CheckArguments, CheckFormat, Global};
use super::json::{self, ProblemShape};
use super::session::{self, Need};
use super::{Status, diagnostics, output, sarif};

#[derive(Serialize)]
struct Checked<'c> {
    components: usize,
    references: usize,
    problems: Vec<ProblemShape<'c>>,
}

pub(super) async fn run(global: &Global, arguments: &CheckArguments) -> Result<Status> {
    let need = match arguments.offline {
        true => Need::Names,
        false => Need::Values,
    };
    let mut session = match session::open(global, &arguments.documents, need).await? {
        Ok(session) => session,
        Err(refused) => {
            let first = arguments.documents.first().map(String::as_str);
            print_shapes(0, 0, &refused.problems, first, arguments.format)?;
            return Ok(refused.print(global));
        }
    };
    let documents = std::mem::take(&mut session.documents);
    let first = documents.first().map(|document| Arc::clone(&document.name));
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
    problems.extend(std::mem::take(&mut session.problems));
    problems.extend(session.slips(&stores, &references));
    problems.extend(session.resolver.unused_entries(&stores, &references));
    let references = references.len();
    print_shapes(
        components,
        references,
        &problems,
        first.as_deref(),
        arguments.format,
    )?;
    if arguments.format == CheckFormat::Text {
        diagnostics::print(&problems, &session.sources, global);
        if session::status(&problems) == Status::Done {
            let verdict = match (components, problems.len()) {
                (0, _) => "nothing was there to check",
                (_, 0) => "all is well",
                (..) => "no errors",
            };
            let line = format!("{components} components, {references} references: {verdict}\n");
            output::data(line.as_bytes())?;
        }
    }
    Ok(session::status(&problems))
}

/// Prints for programs; nothing where the format is for people.
fn print_shapes(
    components: usize,
    references: usize,
    problems: &[Problem],
    first: Option<&str>,
    format: CheckFormat,
) -> Result<()> {
    let checked = || Checked {
        components,
        references,
        problems: json::problems(problems),
    };
    match format {
        CheckFormat::Text => Ok(()),
        CheckFormat::Json => output::json(&checked()),
        CheckFormat::Yaml => output::yaml(&checked()),
        CheckFormat::Sarif => output::json(&sarif::log(problems, first)),
    }
}
