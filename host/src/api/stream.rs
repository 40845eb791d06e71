//! A connection's bytes, whatever it is made of.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::FutureExt as _;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::server::TlsStream;

/// A client's connection. One type for all, so that HTTP is compiled once.
pub(crate) enum Stream {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Unix(UnixStream),
}

/// Calls the same function of whatever the stream is.
macro_rules! each {
    ($stream:expr, $inner:ident => $call:expr) => {
        match $stream {
            Stream::Tcp($inner) => $call,
            Stream::Tls($inner) => $call,
            Stream::Unix($inner) => $call,
        }
    };
}

/// Whether somebody is there on the other side.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Presence {
    /// There is something to read.
    Speaks,
    /// Nothing more is to be read than what has come. Whoever has gone away looks the same as one who
    /// has said all, and listens.
    SaysNoMore,
    /// The connection is broken.
    Gone,
}

/// A connection that knows it.
pub(crate) trait Watched {
    /// Waits until there is something to know; nothing is read.
    fn poll_presence(&self, context: &mut Context<'_>) -> Poll<Presence>;
}

/// What a socket knows of it.
macro_rules! presence {
    ($socket:expr, $context:expr) => {{
        let is_failed = ready!($socket.poll_read_ready($context)).is_err();
        // Some of it is there, at least what was waited for.
        let all = $socket.ready(Interest::READABLE | Interest::WRITABLE);
        let all = all.now_or_never().and_then(Result::ok);
        Poll::Ready(match all {
            _ if is_failed => Presence::Gone,
            Some(all) if all.is_write_closed() => Presence::Gone,
            Some(all) if all.is_read_closed() => Presence::SaysNoMore,
            _ => Presence::Speaks,
        })
    }};
}

impl Watched for Stream {
    fn poll_presence(&self, context: &mut Context<'_>) -> Poll<Presence> {
        match self {
            Self::Tcp(socket) => presence!(socket, context),
            Self::Tls(stream) => presence!(stream.get_ref().0, context),
            Self::Unix(socket) => presence!(socket, context),
        }
    }
}

impl Stream {
    /// Who is on the other side; nobody knows of a socket that is a file.
    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(stream) => stream.peer_addr().ok(),
            Self::Tls(stream) => stream.get_ref().0.peer_addr().ok(),
            Self::Unix(_) => None,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_read(context, buffer))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_write(context, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_write_vectored(context, slices))
    }

    fn is_write_vectored(&self) -> bool {
        each!(self, stream => stream.is_write_vectored())
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_shutdown(context))
    }
}
