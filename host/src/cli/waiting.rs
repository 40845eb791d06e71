//! Work that can last: shown on a terminal, and given up at the deadline.

use std::io::IsTerminal as _;
use std::time::Duration;

use keyref::Context;

use super::arguments::Global;

/// Work that lasts longer than this shows that it goes on.
const PATIENCE: Duration = Duration::from_secs(1);

/// Waits for work, and shows on a terminal that it goes on where it lasts.
pub(super) async fn wait<T>(
    global: &Global,
    what: &'static str,
    work: impl Future<Output = T>,
) -> T {
    let mut work = std::pin::pin!(work);
    let visible = !global.quiet && std::io::stderr().is_terminal();
    if !visible {
        return work.await;
    }
    if let Ok(done) = tokio::time::timeout(PATIENCE, &mut work).await {
        return done;
    }
    let bar = indicatif::ProgressBar::new_spinner().with_message(what);
    bar.enable_steady_tick(Duration::from_millis(120));
    let done = work.await;
    bar.finish_and_clear();
    done
}

/// Does what can wait for a pipe or a file far away, and gives up at the deadline.
pub(super) async fn until_deadline<T: Send + 'static>(
    context: &Context,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let work = tokio::task::spawn_blocking(work);
    let done = match context.deadline {
        Some(deadline) => tokio::time::timeout_at(deadline, work).await.ok()?,
        None => work.await,
    };
    match done {
        Ok(done) => Some(done),
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
