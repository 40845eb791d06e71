//! `keyref check`: whether documents resolve. Prints no value ever.

use std::sync::Arc;

use anyhow::Result;
use keyref::api::Resiliency;
use keyref::component::Origin;
use keyref::problem::Problem;
use keyref::{Document, InspectedComponent};
use serde::Serialize;

use super::arguments::{CheckArguments, CheckFormat, Global};
use super::given::Need;
use super::json::{self, ProblemShape};
use super::session::Session;
use super::{Status, diagnostics, output, sarif, session, waiting};

#[derive(Serialize)]
struct Checked<'c> {
    components: usize,
    references: usize,
    problems: Vec<ProblemShape<'c>>,
}

pub(super) async fn run(global: &Global, arguments: &CheckArguments) -> Result<Status> {
    let need = if arguments.offline {
        Need::Names
    } else {
        Need::Values
    };
    let mut session = match session::open(global, &arguments.documents, need).await? {
        Ok(session) => session,
        Err(refused) => {
            print_shapes(0, 0, &refused.problems, None, arguments.format)?;
            return Ok(refused.print(global));
        }
    };
    let documents = std::mem::take(&mut session.documents);
    let (app_id, mode) = (global.app_id.as_deref(), session::mode(global));
    let (_, of_resiliency) = Resiliency::read(&documents, app_id, mode);
    let first = documents.first().map(|document| Arc::clone(&document.name));
    let found = if arguments.offline {
        offline(global, &session, documents).await
    } else {
        online(global, &session, documents).await
    };
    let Found {
        components,
        stores,
        references,
        mut problems,
    } = found;
    problems.extend(of_resiliency);
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

/// What a check found.
struct Found {
    components: usize,
    stores: Vec<String>,
    references: Vec<Origin>,
    problems: Vec<Problem>,
}

/// Checks what can be checked without a store.
async fn offline(global: &Global, session: &Session, documents: Vec<Document>) -> Found {
    let inspection = session.resolver.inspect(documents, &session.context).await;
    session::print_stats(global, &inspection.stats);
    let inspected = inspection.components.iter();
    let references = inspected.clone().flat_map(|found| &found.references);
    let references = references.map(|found| found.origin.clone()).collect();
    let refusals = inspected.clone().flat_map(InspectedComponent::problems);
    Found {
        components: inspection.components.len(),
        references,
        problems: inspection
            .problems
            .iter()
            .cloned()
            .chain(refusals)
            .collect(),
        stores: inspection.stores,
    }
}

/// Checks by resolving.
async fn online(global: &Global, session: &Session, documents: Vec<Document>) -> Found {
    let work = session.resolver.resolve(documents, &session.context);
    let resolution = waiting::wait(global, "checking", work).await;
    session::print_stats(global, &resolution.stats);
    Found {
        components: resolution.stats.components,
        stores: resolution.stores,
        references: resolution.references,
        problems: resolution.problems,
    }
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
