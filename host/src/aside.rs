//! Work on threads of its own, so that the caller's executor goes on meanwhile.

use std::thread;

use tokio::sync::oneshot;

/// Begins work on a thread of its own; nothing where there can be no more threads.
pub(crate) fn begin<R: Send + 'static>(
    work: impl FnOnce() -> R + Send + 'static,
) -> Option<oneshot::Receiver<R>> {
    let (sender, receiver) = oneshot::channel();
    let spawned = thread::Builder::new()
        .name("keyref".to_owned())
        .spawn(move || {
            // Whoever waits may be gone by now.
            drop(sender.send(work()));
        });
    spawned.ok().map(|_| receiver)
}

/// Waits for work to end.
pub(crate) async fn end<R>(work: oneshot::Receiver<R>) -> R {
    match work.await {
        Ok(done) => done,
        // What panicked there must not be lost here.
        Err(_) => std::panic::resume_unwind(Box::new("a thread of keyref's panicked")),
    }
}
