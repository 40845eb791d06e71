//! Answers that a client has asked for and does not read.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::Notify;
use tokio::time::Instant;

/// How long a client may leave a part of an answer unread.
pub(crate) const UNREAD_TIME: Duration = Duration::from_secs(30);
/// How many bytes may be unread before the connection's next requests wait.
const MOST_UNREAD: usize = 1 << 20;

/// What one connection's client has not read yet: parts of answers that wait for it, in whatever
/// buffer, because of the socket or of HTTP/2's windows.
#[derive(Debug, Default)]
pub(crate) struct Unread {
    parts: Mutex<Parts>,
    is_more: Notify,
    is_less: Notify,
}

#[derive(Debug, Default)]
struct Parts {
    /// Since when each part waits, and how long it is; the oldest is the first.
    waiting: BTreeMap<u64, (Instant, usize)>,
    next: u64,
    bytes: usize,
}

impl Unread {
    /// Waits until there is room for one more answer.
    pub(crate) async fn room(&self) {
        loop {
            let is_less = self.is_less.notified();
            if self.parts().bytes <= MOST_UNREAD {
                return;
            }
            is_less.await;
        }
    }

    /// Waits until something has waited for too long.
    pub(crate) async fn is_stuck(&self) {
        loop {
            let oldest = self
                .parts()
                .waiting
                .first_key_value()
                .map(|(_, (since, _))| *since);
            match oldest {
                None => self.is_more.notified().await,
                Some(since) if since.elapsed() >= UNREAD_TIME => return,
                Some(since) => tokio::time::sleep_until(since + UNREAD_TIME).await,
            }
        }
    }

    /// The same body, each part of which counts until it is sent.
    pub(crate) fn counted<B>(self: &Arc<Self>, body: B) -> Counted<B> {
        Counted {
            body,
            unread: Arc::clone(self),
        }
    }

    fn hold(self: &Arc<Self>, part: Bytes) -> Bytes {
        if part.is_empty() {
            return part;
        }
        let mut parts = self.parts();
        let number = parts.next;
        parts.next += 1;
        parts.bytes += part.len();
        let is_first = parts.waiting.is_empty();
        parts.waiting.insert(number, (Instant::now(), part.len()));
        drop(parts);
        if is_first {
            self.is_more.notify_one();
        }
        Bytes::from_owner(Held {
            part,
            number,
            unread: Arc::clone(self),
        })
    }

    fn parts(&self) -> MutexGuard<'_, Parts> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A part of an answer, which counts for as long as somebody has it.
struct Held {
    part: Bytes,
    number: u64,
    unread: Arc<Unread>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.part
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut parts = self.unread.parts();
        if let Some((_, length)) = parts.waiting.remove(&self.number) {
            parts.bytes -= length;
        }
        drop(parts);
        self.unread.is_less.notify_waiters();
    }
}

/// A body whose parts count.
pub(crate) struct Counted<B> {
    body: B,
    unread: Arc<Unread>,
}

impl<B: Body<Data = Bytes> + Unpin> Body for Counted<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        frame.map_ok(|frame| frame.map_data(|part| self.unread.hold(part)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use bytes::Bytes;

    use super::{MOST_UNREAD, UNREAD_TIME, Unread};

    async fn is_stuck_within(unread: &Unread, time: Duration) -> bool {
        tokio::time::timeout(time, unread.is_stuck()).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_is_not_stuck_and_one_that_does_not_is() {
        let unread = Arc::new(Unread::default());
        assert!(!is_stuck_within(&unread, UNREAD_TIME * 9).await);
        for _ in 0..9 {
            let part = unread.hold(Bytes::from_static(b"part"));
            assert!(!is_stuck_within(&unread, UNREAD_TIME / 2).await);
            drop(part);
        }
        // Others that are read do not save it.
        let part = unread.hold(Bytes::from_static(b"part"));
        for _ in 0..3 {
            drop(unread.hold(Bytes::from_static(b"other")));
        }
        assert_eq!(part, "part");
        let soon = UNREAD_TIME.saturating_sub(Duration::from_secs(1));
        assert!(!is_stuck_within(&unread, soon).await);
        assert!(is_stuck_within(&unread, Duration::from_secs(2)).await);
    }

    #[tokio::test(start_paused = true)]
    async fn requests_wait_where_too_much_is_unread() {
        let unread = Arc::new(Unread::default());
        let part = unread.hold(vec![0; MOST_UNREAD + 1].into());
        let waiting = tokio::time::timeout(UNREAD_TIME, unread.room());
        assert!(waiting.await.is_err());
        let room = Arc::clone(&unread);
        let room = tokio::spawn(async move { room.room().await });
        tokio::task::yield_now().await;
        drop(part);
        tokio::time::timeout(UNREAD_TIME, room)
            .await
            .unwrap()
            .unwrap();
    }
}
