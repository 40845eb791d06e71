//! A connection that must finish the head of a request in time, and take in what it is answered,
//! and may be idle between requests for as long as it likes. A request ends with its connection.
//!
//! Requests that follow each other at once are passed on one by one, so that each head is timed.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use crate::api::stream::{Presence, Watched};

/// How HTTP/2 begins (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How long an answer may still take once its client has said all that it has to say. It may have gone
/// away, or just listen.
const LISTEN_TIME: Duration = Duration::from_secs(5);
/// How often a client that has said more than is read is looked for: its end comes behind that.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A stream whose heads are timed. What follows HTTP/2's preface is not: pings tell there whether
/// somebody answers.
pub(crate) struct Timed<S> {
    stream: S,
    limit: Duration,
    state: State,
    /// Of a head, and of whoever waits for an answer.
    deadline: Pin<Box<Sleep>>,
    /// What was read and belongs to later requests, or to a body that nobody has asked for yet.
    rest: Bytes,
    /// How long the body of the request under way is.
    length: BodyLength,
    /// How much of it is still to come, once some of it was asked for.
    left: Option<u64>,
    /// What was last known of a client that waits for its answer.
    presence: Option<Presence>,
    /// How much of the preface the connection began with; `None` once it did not.
    preface: Option<usize>,
    /// How long nothing of what is written may be taken in.
    write_limit: Duration,
    /// Set while nothing is.
    stalled: Option<Pin<Box<Sleep>>>,
}

/// How long a request's body is, as whoever has understood its head tells it. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct BodyLength(Arc<AtomicU64>);

impl BodyLength {
    const UNKNOWN: u64 = u64::MAX;

    /// Tells it; nothing where it ends somewhere.
    pub(crate) fn tell(&self, length: Option<u64>) {
        self.0
            .store(length.unwrap_or(Self::UNKNOWN), Ordering::Relaxed);
    }

    fn told(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// A head is awaited, or under way.
    Head(Line),
    /// A head is complete: its body and the answer follow.
    Beyond,
    /// An answer was written.
    Idle,
    /// HTTP/2.
    Untimed,
}

/// Where in a head the stream is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Line {
    /// Before the first line: empty ones are skipped (RFC 9112, section 2.2).
    Before,
    /// In a line.
    Within,
    /// After a line's end: one more ends the head.
    Ended,
}

impl<S> Timed<S> {
    /// A head may take this long, from its first byte on; the first of a connection, from now on.
    pub(crate) fn new(
        stream: S,
        limit: Duration,
        write_limit: Duration,
        length: BodyLength,
    ) -> Self {
        Self {
            stream,
            limit,
            state: State::Head(Line::Before),
            deadline: Box::pin(tokio::time::sleep(limit)),
            rest: Bytes::new(),
            length,
            left: None,
            presence: None,
            preface: Some(0),
            write_limit,
            stalled: None,
        }
    }

    /// Gives up on a client that takes nothing in for too long.
    fn bound<T>(
        &mut self,
        written: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let limit = self.write_limit;
        let stalled = &mut self.stalled;
        let stalled = stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        match stalled.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Takes note of what was read, and how much of it is for now: as far as the head that is under way
    /// or its body, and something in any case.
    fn note_read(&mut self, bytes: &[u8]) -> usize {
        if let Some(known) = self.preface {
            let expected = PREFACE.get(known..).unwrap_or_default();
            let most = expected.len().min(bytes.len());
            let begins = bytes.get(..most) == expected.get(..most);
            self.preface = begins.then_some(known + most);
            if begins && known + most == PREFACE.len() {
                self.preface = None;
                self.state = State::Untimed;
            }
        }
        if self.preface.is_some() {
            return bytes.len();
        }
        if self.state == State::Beyond {
            return self.note_body(bytes.len());
        }
        if self.state == State::Idle && !bytes.is_empty() {
            self.await_head();
        }
        let State::Head(mut place) = self.state else {
            return bytes.len();
        };
        let mut taken = 0;
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            taken += line.len();
            let (text, is_whole) = match line.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (line, false),
            };
            let is_empty = text.iter().all(|byte| *byte == b'\r');
            place = match (place, is_empty, is_whole) {
                (Line::Ended, true, true) => {
                    self.state = State::Beyond;
                    (self.presence, self.left) = (None, None);
                    return taken;
                }
                (Line::Before, true, _) | (_, true, false) => place,
                (_, _, true) => Line::Ended,
                (_, false, false) => Line::Within,
            };
        }
        self.state = State::Head(place);
        taken
    }

    /// Takes note of what was read beyond a head: what of it belongs to the body, or all of it where
    /// more is read than that.
    fn note_body(&mut self, length: usize) -> usize {
        let left = self.left.get_or_insert_with(|| self.length.told());
        let taken = match usize::try_from(*left) {
            Ok(0) | Err(_) => length,
            Ok(left) => left.min(length),
        };
        if *left != BodyLength::UNKNOWN {
            *left = left.saturating_sub(taken as u64);
        }
        taken
    }

    /// A head may take its time from now on.
    fn await_head(&mut self) {
        self.state = State::Head(Line::Before);
        self.deadline.as_mut().reset(Instant::now() + self.limit);
    }

    /// Takes note that something was written. What goes before the answer, such as 100, is not it.
    fn note_write(&mut self, bytes: &[u8]) {
        let is_interim = bytes.starts_with(b"HTTP/1.1 1");
        if is_interim || !matches!(self.state, State::Head(_) | State::Beyond) {
            return;
        }
        // Behind a body that ends somewhere, a head may have begun already.
        if self.state == State::Beyond && self.length.told() == BodyLength::UNKNOWN {
            self.await_head();
        } else {
            self.state = State::Idle;
        }
    }
}

impl<S: Watched> Timed<S> {
    /// Waits until nobody waits for the answer that is under way. HTTP/1 is not read meanwhile, so
    /// nothing else would tell.
    fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.state != State::Beyond {
            return Poll::Pending;
        }
        if self.presence.is_none() {
            let presence = ready!(self.stream.poll_presence(context));
            let limit = match presence {
                Presence::Gone => return Poll::Ready(()),
                Presence::SaysNoMore => LISTEN_TIME,
                Presence::Speaks => LOOK_EVERY,
            };
            self.presence = Some(presence);
            self.deadline.as_mut().reset(Instant::now() + limit);
        }
        ready!(self.deadline.as_mut().poll(context));
        if self.presence.take() == Some(Presence::SaysNoMore) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Timed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.rest.is_empty() {
            let mut rest = std::mem::take(&mut self.rest);
            let most = rest.len().min(buffer.remaining());
            let taken = self.note_read(rest.get(..most).unwrap_or_default());
            buffer.put_slice(&rest.split_to(taken));
            self.rest = rest;
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if read.is_ready() {
            let bytes = buffer.filled().get(before..).unwrap_or_default();
            let taken = self.note_read(bytes);
            if let Some(rest) = bytes.get(taken..).filter(|rest| !rest.is_empty()) {
                self.rest = Bytes::copy_from_slice(rest);
                buffer.set_filled(before + taken);
            }
            return read;
        }
        if matches!(self.state, State::Head(_)) && self.deadline.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Poll::Pending
    }
}

impl<S: AsyncWrite + Unpin + Watched> AsyncWrite for Timed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.note_write(bytes);
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.bound(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.note_write(slices.first().map_or(&[], |slice| slice));
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.bound(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Called as well whenever an answer is not there yet.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.poll_gone(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll};
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

    use super::{BodyLength, PREFACE, Timed};
    use crate::api::stream::{Presence, Watched};

    const LIMIT: Duration = Duration::from_secs(10);

    /// The other side is there.
    impl Watched for DuplexStream {
        fn poll_presence(&self, _: &mut Context<'_>) -> Poll<Presence> {
            Poll::Pending
        }
    }

    fn connection() -> (DuplexStream, Timed<DuplexStream>) {
        let (client, server) = tokio::io::duplex(1024);
        let length = BodyLength::default();
        (client, Timed::new(server, LIMIT, LIMIT, length))
    }

    /// Whether the server's next read is cut, once nothing more comes.
    async fn is_cut(server: &mut Timed<DuplexStream>) -> bool {
        let mut buffer = [0; 256];
        loop {
            match tokio::time::timeout(LIMIT * 6, server.read(&mut buffer)).await {
                Ok(Ok(_)) => {}
                Ok(Err(_)) => return true,
                Err(_) => return false,
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn unfinished_heads_are_cut() {
        for sent in [
            "",
            "GET / HTTP/1.1\r\nHost: x\r\n",
            "\r\n\r\n",
            "PRI * HTTP/2.0\r\n\r\n",
        ] {
            let (mut client, mut server) = connection();
            client.write_all(sent.as_bytes()).await.unwrap();
            assert!(is_cut(&mut server).await, "{sent:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn bodies_and_idle_connections_are_not() {
        let head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n";
        let (mut client, mut server) = connection();
        client.write_all(head.as_bytes()).await.unwrap();
        assert!(!is_cut(&mut server).await);
        let interim = b"HTTP/1.1 100 Continue\r\n\r\n";
        server.write_all(interim).await.unwrap();
        client.write_all(b"body").await.unwrap();
        assert!(!is_cut(&mut server).await);
        server.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        assert!(!is_cut(&mut server).await);
        // The next head is timed from its first byte on.
        client.write_all(b"GET").await.unwrap();
        assert!(is_cut(&mut server).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_ends_where_it_does_however_it_comes() {
        for head in [
            "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            "\r\n\nGET / HTTP/1.1\nHost: x\n\n",
            "GET / HTTP/1.1\nHost: x\r\n\r\r\n",
        ] {
            for end in [head.len(), head.len() - 1] {
                let (mut client, mut server) = connection();
                let mut buffer = [0; 256];
                for byte in head.as_bytes().iter().take(end) {
                    client.write_all(&[*byte]).await.unwrap();
                    assert_eq!(server.read(&mut buffer).await.unwrap(), 1);
                }
                assert_eq!(is_cut(&mut server).await, end < head.len(), "{head:?}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_follows_a_request_at_once_is_kept_and_timed() {
        const HEAD: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
        for (length, body, next, expected) in [
            (Some(0), "", "", false),
            (Some(0), "", "G", true),
            (Some(0), "", HEAD, false),
            (Some(6), "a\n\nb\n\n", "", false),
            (Some(6), "a\n\nb\n\n", "GET / HTTP/1.1\r\n", true),
            // Nobody knows here where it ends.
            (None, "1\r\na\r\n0\r\n\r\n", "", true),
        ] {
            let (mut client, mut server) = connection();
            let sent = format!("{HEAD}{body}{next}");
            client.write_all(sent.as_bytes()).await.unwrap();
            let mut buffer = [0; 256];
            let read = server.read(&mut buffer).await.unwrap();
            assert_eq!(&buffer[..read], HEAD.as_bytes());
            server.length.tell(length);
            if !body.is_empty() {
                let read = server.read(&mut buffer).await.unwrap();
                assert_eq!(&buffer[..read], body.as_bytes());
            }
            server.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            assert_eq!(is_cut(&mut server).await, expected, "{body:?} {next:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_in_is_cut() {
        let (mut client, mut server) = connection();
        for _ in 0..3 {
            server.write_all(&[0; 1024]).await.unwrap();
            let reading = async {
                tokio::time::sleep(LIMIT / 2).await;
                client.read_exact(&mut [0; 1024]).await.unwrap();
            };
            let (written, ()) = tokio::join!(server.write_all(&[0; 512]), reading);
            written.unwrap();
            client.read_exact(&mut [0; 512]).await.unwrap();
        }
        let error = server.write_all(&[0; 2048]).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn what_follows_the_preface_is_not() {
        let (mut client, mut server) = connection();
        for byte in PREFACE {
            client.write_all(&[*byte]).await.unwrap();
        }
        assert!(!is_cut(&mut server).await);
    }
}
