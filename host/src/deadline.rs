//! Waiting no longer than somebody wants the answer.

use crate::context::Context;
use crate::error::Class;
use crate::stores::StoreError;

/// Waits until the context's deadline, and no longer.
pub(crate) async fn within<T>(
    context: &Context,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let Some(deadline) = context.deadline else {
        return work.await;
    };
    if tokio::runtime::Handle::try_current().is_err() {
        return Err(StoreError::new(
            Class::Internal,
            "a deadline needs a tokio runtime",
        ));
    }
    match tokio::time::timeout_at(deadline, work).await {
        Ok(answer) => answer,
        Err(_) => Err(StoreError::new(
            Class::TimedOut,
            "there was no answer before the deadline",
        )),
    }
}
