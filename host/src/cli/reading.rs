//! Reading from a store by its name, which `get` and `bulk` share.

use std::time::Instant;

use anyhow::Result;
use keyref::error::SecretError;
use keyref::problem::Problem;
use keyref::{Context, Resolver, Stats};

use super::Status;
use super::arguments::Global;
use super::diagnostics::{self, Sources};
use super::given::Need;
use super::{session, waiting};

/// The stores of a command, opened, and what was wrong with their documents.
pub(super) struct Reading {
    pub(super) resolver: Resolver,
    pub(super) context: Context,
    problems: Vec<Problem>,
    sources: Sources,
}

/// Opens the stores that the resources declare.
pub(super) async fn open(
    global: &Global,
    resources: &[String],
) -> Result<std::result::Result<Reading, Status>> {
    let mut session = match session::open(global, resources, Need::Values).await? {
        Ok(session) => session,
        Err(refused) => return Ok(Err(refused.print(global))),
    };
    let documents = std::mem::take(&mut session.documents);
    let opening = session.resolver.with_stores_of(documents, &session.context);
    let (resolver, problems) = waiting::wait(global, "opening", opening).await;
    session.resolver = resolver;
    let mut all = std::mem::take(&mut session.problems);
    all.extend(problems);
    all.extend(session.slips(&session.resolver.stores(), &[]));
    // What is wrong is told where nothing can be read, since it may be why.
    let (problems, warnings): (Vec<_>, Vec<_>) = all.into_iter().partition(diagnostics::is_error);
    diagnostics::print(&warnings, &session.sources, global);
    Ok(Ok(Reading {
        resolver: session.resolver,
        context: session.context,
        problems,
        sources: session.sources,
    }))
}

impl Reading {
    /// Waits for what was asked for. Where it fails, what was wrong with the documents may be why.
    pub(super) async fn wait<T>(
        &self,
        global: &Global,
        work: impl Future<Output = std::result::Result<T, SecretError>>,
    ) -> std::result::Result<T, Status> {
        let begin = Instant::now();
        let read = waiting::wait(global, "reading", work).await;
        let mut stats = Stats::default();
        stats.backend_calls = self.resolver.backend_calls();
        stats.fetch = begin.elapsed();
        session::print_stats(global, &stats);
        read.map_err(|error| {
            // A store that cannot be used says the same of itself when it is asked.
            let problems = self.problems.iter();
            let others = problems.filter(|problem| problem.message != error.message);
            let others: Vec<_> = others.cloned().collect();
            diagnostics::print(&others, &self.sources, global);
            fail(&error, global)
        })
    }
}

/// Prints a failure, and says how the command ends.
pub(super) fn fail(error: &SecretError, global: &Global) -> Status {
    diagnostics::print_secret_error(error, global);
    session::status_of(error.class)
}

/// The failure to print bytes as text.
pub(super) fn not_text(message: String, global: &Global) -> Status {
    let error = SecretError::new(keyref::error::Class::ValueNotText, message);
    fail(
        &error.with_hint("get this key alone and as text, which prints its bytes"),
        global,
    )
}
