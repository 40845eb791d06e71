//! The body of a call, which must come to its end in time, and of which little is held.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::{AcquireError, OwnedSemaphorePermit};
use tokio::time::Sleep;
use tonic::Status;

use crate::api::service::Service;

/// How many bytes of a body are taken without a turn, so that those who hold back much do not keep
/// others from asking: of all calls of a connection no more than HTTP/2's window for it.
const FREE: usize = 4 << 10;

/// A body that ends with an error once it has been waited for as long as a request may take, and that
/// waits where too much of bodies is held already. What it holds counts until it is dropped.
pub(crate) struct Bounded<B> {
    body: B,
    service: Arc<Service>,
    /// How many bytes have come.
    size: usize,
    held: Option<OwnedSemaphorePermit>,
    /// A part that has come and waits for its turn.
    waiting: Option<(Bytes, Turn)>,
    /// Since something was waited for first. Calls are mostly there as a whole.
    deadline: Option<Pin<Box<Sleep>>>,
}

/// Leave to hold a part.
type Turn = Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, AcquireError>> + Send>>;

impl<B> Bounded<B> {
    pub(crate) fn new(body: B, service: &Arc<Service>) -> Self {
        Self {
            body,
            service: Arc::clone(service),
            size: 0,
            held: None,
            waiting: None,
            deadline: None,
        }
    }
}

impl<B> Bounded<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// The next frame, once it may be held.
    fn poll_held(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let (part, mut turn) = match self.waiting.take() {
            Some(waiting) => waiting,
            None => match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => {
                    return Poll::Ready(Some(Err(Status::from_error(error.into()))));
                }
                Some(Ok(frame)) => match frame.into_data() {
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                    Ok(part) => match self.turn(part.len()) {
                        None => return Poll::Ready(Some(Ok(Frame::data(part)))),
                        Some(turn) => (part, turn),
                    },
                },
            },
        };
        let Poll::Ready(permit) = turn.as_mut().poll(context) else {
            self.waiting = Some((part, turn));
            return Poll::Pending;
        };
        // The semaphore is never closed.
        match (&mut self.held, permit.ok()) {
            (Some(held), Some(permit)) => held.merge(permit),
            (held, permit) => *held = permit,
        }
        Poll::Ready(Some(Ok(Frame::data(part))))
    }

    /// What must be waited for before so many more bytes are held; nothing where they are few.
    fn turn(&mut self, length: usize) -> Option<Turn> {
        self.size = self.size.saturating_add(length);
        if self.size <= FREE {
            return None;
        }
        let bytes = u32::try_from(length).unwrap_or(u32::MAX);
        let bodies = Arc::clone(&self.service.bodies);
        Some(Box::pin(bodies.acquire_many_owned(bytes)))
    }
}

impl<B> Body for Bounded<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = self.poll_held(context);
        if frame.is_ready() {
            return frame;
        }
        let limit = self.service.timeout;
        let deadline = self
            .deadline
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        ready!(deadline.as_mut().poll(context));
        let late = Status::deadline_exceeded("there was no end of the message in time");
        Poll::Ready(Some(Err(late)))
    }

    fn is_end_stream(&self) -> bool {
        self.waiting.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
