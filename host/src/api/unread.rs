//! Answers that a client has asked for and does not read.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
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
/// How many bytes may be unread by all clients together before those that leave the most are cut.
const MOST_OF_ALL: usize = 128 << 20;

/// What the clients of all connections have not read yet.
#[derive(Debug, Default)]
pub(crate) struct AllUnread {
    bytes: AtomicUsize,
    is_less: Notify,
    connections: Mutex<Connections>,
    /// Whether it was told that clients are cut.
    is_told: AtomicBool,
}

#[derive(Debug, Default)]
struct Connections {
    listed: BTreeMap<u64, Weak<Unread>>,
    next: u64,
}

impl AllUnread {
    /// One more connection.
    pub(crate) fn connection(self: &Arc<Self>) -> Arc<Unread> {
        let mut connections = self.lock();
        let number = connections.next;
        connections.next += 1;
        let unread = Arc::new(Unread {
            all: Arc::clone(self),
            number,
            parts: Mutex::default(),
            is_more: Notify::new(),
            is_less: Notify::new(),
            cut: Notify::new(),
            is_cut: AtomicBool::new(false),
        });
        connections.listed.insert(number, Arc::downgrade(&unread));
        unread
    }

    fn add(&self, bytes: usize) {
        if self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > MOST_OF_ALL {
            self.relieve();
        }
    }

    /// Cuts the clients that leave the most unread, until the rest is little enough. What they hold
    /// goes with their connections.
    fn relieve(&self) {
        let listed: Vec<_> = self.lock().listed.values().cloned().collect();
        let connections = listed.iter().filter_map(Weak::upgrade);
        let mut holding: Vec<_> = connections
            .map(|unread| {
                let bytes = unread.parts().bytes;
                (unread.is_cut.load(Ordering::Relaxed), bytes, unread)
            })
            .collect();
        // Those that are cut already come first.
        holding.sort_by_key(|(is_cut, bytes, _)| Reverse((*is_cut, *bytes)));
        let mut left = self.bytes.load(Ordering::Relaxed);
        for (is_cut, bytes, unread) in holding {
            if !is_cut && left <= MOST_OF_ALL {
                return;
            }
            left = left.saturating_sub(bytes);
            if !unread.is_cut.swap(true, Ordering::Relaxed) {
                unread.cut.notify_one();
                if !self.is_told.swap(true, Ordering::Relaxed) {
                    let most = MOST_OF_ALL >> 20;
                    tracing::warn!(
                        "clients leave more than {most} MiB of answers unread: those that leave the \
                         most are cut"
                    );
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Connections> {
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one connection's client has not read yet: answers and parts of them that wait for it, in
/// whatever buffer, because of the socket or of HTTP/2's windows.
#[derive(Debug)]
pub(crate) struct Unread {
    all: Arc<AllUnread>,
    number: u64,
    parts: Mutex<Parts>,
    is_more: Notify,
    is_less: Notify,
    /// Told where this connection is to end, since all leave too much.
    cut: Notify,
    is_cut: AtomicBool,
}

impl Drop for Unread {
    fn drop(&mut self) {
        self.all.lock().listed.remove(&self.number);
    }
}

#[derive(Debug, Default)]
struct Parts {
    /// The number of each part that waits, and since when; the oldest is the first.
    waiting: VecDeque<(u64, Instant)>,
    next: u64,
    bytes: usize,
}

impl Unread {
    /// Waits until there is room for one more answer: of this client, and of all, which is a moment,
    /// since others are cut meanwhile.
    pub(crate) async fn room(&self) {
        while !self.has_room() {
            let (is_less, all_are_less) = (self.is_less.notified(), self.all.is_less.notified());
            // Something may have been read before that.
            if self.has_room() {
                return;
            }
            tokio::select! {
                () = is_less => {}
                () = all_are_less => {}
            }
        }
    }

    /// Never again, once the connection is to be cut.
    fn has_room(&self) -> bool {
        !self.is_cut.load(Ordering::Relaxed)
            && self.parts().bytes <= MOST_UNREAD
            && self.all.bytes.load(Ordering::Relaxed) <= MOST_OF_ALL
    }

    /// Waits until something has waited for too long, or the connection is to end because all clients
    /// leave too much.
    pub(crate) async fn is_stuck(&self) {
        tokio::select! {
            () = self.is_old() => {}
            () = self.cut.notified() => {}
        }
    }

    async fn is_old(&self) {
        loop {
            let oldest = self.parts().waiting.front().map(|(_, since)| *since);
            match oldest {
                None => self.is_more.notified().await,
                Some(since) if since.elapsed() >= UNREAD_TIME => return,
                Some(since) => tokio::time::sleep_until(since + UNREAD_TIME).await,
            }
        }
    }

    /// The same body, whose bytes count until they are sent: all of them from now on, as far as their
    /// number is known, and each part once it is there.
    pub(crate) fn counted<B>(self: &Arc<Self>, body: B, length: usize) -> Counted<B> {
        Counted {
            body,
            whole: self.note(length),
            unread: Arc::clone(self),
        }
    }

    fn hold(self: &Arc<Self>, part: Bytes) -> Bytes {
        match self.note(part.len()) {
            Some(noted) => Bytes::from_owner(Held {
                part,
                _noted: noted,
            }),
            None => part,
        }
    }

    /// Counts some bytes, unless there are none.
    fn note(self: &Arc<Self>, length: usize) -> Option<Noted> {
        if length == 0 {
            return None;
        }
        let mut parts = self.parts();
        let number = parts.next;
        parts.next += 1;
        parts.bytes += length;
        let is_first = parts.waiting.is_empty();
        parts.waiting.push_back((number, Instant::now()));
        drop(parts);
        if is_first {
            self.is_more.notify_one();
        }
        self.all.add(length);
        Some(Noted {
            number,
            length,
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
    _noted: Noted,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.part
    }
}

/// Bytes that count.
struct Noted {
    number: u64,
    length: usize,
    unread: Arc<Unread>,
}

impl Drop for Noted {
    fn drop(&mut self) {
        let mut parts = self.unread.parts();
        let waiting = &mut parts.waiting;
        if let Ok(index) = waiting.binary_search_by_key(&self.number, |(number, _)| *number) {
            waiting.remove(index);
        }
        parts.bytes -= self.length;
        drop(parts);
        let all = &self.unread.all;
        if all.bytes.fetch_sub(self.length, Ordering::Relaxed) > MOST_OF_ALL {
            all.is_less.notify_waiters();
        }
        self.unread.is_less.notify_waiters();
    }
}

/// A body whose bytes count.
pub(crate) struct Counted<B> {
    body: B,
    /// All of it, until its first part is there.
    whole: Option<Noted>,
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
        if frame.is_pending() {
            return frame;
        }
        let whole = self.whole.take();
        frame.map_ok(|frame| {
            frame.map_data(|part| match whole {
                // Answers are mostly one part.
                Some(noted) if noted.length == part.len() => Bytes::from_owner(Held {
                    part,
                    _noted: noted,
                }),
                _ => self.unread.hold(part),
            })
        })
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
    use std::sync::atomic::Ordering;
    use std::time::Duration;

    use bytes::Bytes;
    use http_body_util::Full;

    use super::{AllUnread, MOST_OF_ALL, MOST_UNREAD, UNREAD_TIME, Unread};

    async fn is_stuck_within(unread: &Unread, time: Duration) -> bool {
        tokio::time::timeout(time, unread.is_stuck()).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_is_not_stuck_and_one_that_does_not_is() {
        let unread = Arc::new(AllUnread::default()).connection();
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
        let unread = Arc::new(AllUnread::default()).connection();
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
    #[tokio::test(start_paused = true)]
    async fn who_leaves_the_most_of_too_much_is_cut() {
        let all = Arc::new(AllUnread::default());
        let [most, less, little] = [0; 3].map(|_| all.connection());
        let soon = Duration::from_secs(1);
        let whole = most.counted(Full::<Bytes>::default(), MOST_OF_ALL / 2);
        let part = less.hold(vec![0; MOST_OF_ALL / 4].into());
        let small = little.hold(vec![0; MOST_OF_ALL / 4].into());
        for unread in [&most, &less, &little] {
            assert!(!is_stuck_within(unread, soon).await);
        }
        let last = little.hold(vec![0; 1].into());
        assert!(is_stuck_within(&most, soon).await);
        assert!(!is_stuck_within(&less, soon).await);
        // It goes with all that it holds, and nobody else has to.
        let more = less.hold(vec![0; MOST_OF_ALL / 4].into());
        assert!(!is_stuck_within(&little, soon).await);
        assert!(!is_stuck_within(&less, soon).await);
        drop((whole, part, small, last, more, most, less, little));
        assert_eq!(all.bytes.load(Ordering::Relaxed), 0);
        assert!(all.lock().listed.is_empty());
    }
}
