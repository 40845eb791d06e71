//! A socket and its connections.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::api::audit::Peer;
use crate::api::components::Components;
use crate::api::end::Phase;
use crate::api::grpc::{Grpc, Sent};
use crate::api::head_time::{BodyLength, Timed};
use crate::api::http::Http;
use crate::api::service::Service;
use crate::api::status::Status;
use crate::api::stream::Stream;
use crate::api::tls::{Agreeing, Known, Tls};
use crate::api::unix::UnixSocket;
use crate::api::unread::UNREAD_TIME;

/// How long the head of a request may take, and before it agreeing on TLS.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// After this long without a frame, HTTP/2 asks whether somebody is there, as Dapr does.
const PING_AFTER: Duration = Duration::from_secs(10);
/// How long that may take to answer. Dapr gives 5 s.
const PING_TIME: Duration = Duration::from_secs(5);
/// How often an idle connection is asked whether somebody is there, as Go does it.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// How long what is under way may take once nobody stands up for its client any more.
const UNKNOWN_TIME: Duration = Duration::from_secs(1);
/// How many requests one HTTP/2 connection may have under way.
const MOST_STREAMS: u32 = 250;
/// How many bytes a head may have by default.
pub(crate) const DEFAULT_HEAD: usize = 4 << 10;
/// How many fields the head of an HTTP/1 request may have where more bytes are allowed.
const MOST_FIELDS: usize = 1000;
/// The least that the HTTP/1 parser can be limited to.
const LEAST_HEAD: usize = 8192;

/// What is served on a socket.
#[derive(Clone, Debug)]
pub(crate) enum Protocol {
    Http(Http),
    Grpc(Grpc),
    Components(Components),
    Status(Status),
}

/// A socket that is bound.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: Socket,
    protocol: Protocol,
    /// How many bytes the head of a request may have.
    most_head: usize,
}

#[derive(Debug)]
enum Socket {
    Tcp {
        socket: TcpListener,
        address: SocketAddr,
        tls: Option<Tls>,
    },
    Unix(UnixSocket),
}

impl Listener {
    pub(crate) async fn bind(
        address: SocketAddr,
        tls: Option<Tls>,
        protocol: Protocol,
        most_head: usize,
    ) -> io::Result<Self> {
        let socket = TcpListener::bind(address).await?;
        let address = socket.local_addr()?;
        let socket = Socket::Tcp {
            socket,
            address,
            tls,
        };
        Ok(Self {
            socket,
            protocol,
            most_head,
        })
    }

    /// The same with a file for an address.
    pub(crate) fn bind_unix(
        folder: &Path,
        name: &str,
        protocol: Protocol,
        most_head: usize,
    ) -> io::Result<Self> {
        Ok(Self {
            socket: Socket::Unix(UnixSocket::bind(folder, name)?),
            protocol,
            most_head,
        })
    }

    /// Its address, where it is not a file.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        match self.socket {
            Socket::Tcp { address, .. } => Some(address),
            Socket::Unix(_) => None,
        }
    }

    /// Its file, where it is one.
    pub(crate) fn path(&self) -> Option<&Path> {
        match &self.socket {
            Socket::Tcp { .. } => None,
            Socket::Unix(socket) => Some(socket.path()),
        }
    }

    /// Serves until the service ends, and then until its connections have ended. Connections wait
    /// for a turn where there are this many.
    pub(crate) async fn run(self, service: Arc<Service>, most_connections: usize) {
        let turns = Arc::new(Semaphore::new(most_connections));
        let mut connections = JoinSet::new();
        let mut is_failing = false;
        loop {
            let accepted = async {
                // The semaphore is never closed.
                let turn = Arc::clone(&turns).acquire_owned().await.ok();
                (self.socket.accept(&self.protocol).await, turn)
            };
            tokio::select! {
                (accepted, turn) = accepted => match accepted {
                    Ok(stream) => {
                        is_failing = false;
                        let connection = Connection {
                            service: Arc::clone(&service),
                            most_head: self.most_head,
                            known: None,
                        };
                        let protocol = self.protocol.clone();
                        connections.spawn(async move {
                            connection.serve(stream, protocol).await;
                            drop(turn);
                        });
                    }
                    // Files run out, for instance: others may end meanwhile.
                    Err(error) => {
                        if !std::mem::replace(&mut is_failing, true) {
                            tracing::error!("connections are not accepted: {error}");
                        }
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                },
                // Those that have ended are forgotten.
                Some(_) = connections.join_next() => {}
                () = service.end.reaches(Phase::Ending) => break,
            }
        }
        // The file of a socket goes away as well.
        drop(self.socket);
        while connections.join_next().await.is_some() {}
    }
}

/// A connection that is taken.
enum Accepted {
    /// With what its TLS is to be, where it speaks it.
    Tcp(TcpStream, Option<Agreeing>),
    Unix(UnixStream),
}

impl Socket {
    async fn accept(&self, protocol: &Protocol) -> io::Result<Accepted> {
        match self {
            Self::Tcp { socket, tls, .. } => {
                let (stream, _) = socket.accept().await?;
                let tls = tls.as_ref().map(|tls| match protocol {
                    Protocol::Http(_) | Protocol::Components(_) | Protocol::Status(_) => {
                        tls.for_http()
                    }
                    Protocol::Grpc(_) => tls.for_grpc(),
                });
                Ok(Accepted::Tcp(stream, tls))
            }
            Self::Unix(socket) => {
                let (stream, _) = socket.socket.accept().await?;
                Ok(Accepted::Unix(stream))
            }
        }
    }
}

impl Accepted {
    /// Gets it ready for HTTP; nothing where its client does not agree on TLS in time. Also, what the
    /// client is known by, where it must be.
    async fn ready(self) -> Option<(Stream, Option<Known>)> {
        let (stream, tls) = match self {
            Self::Tcp(stream, tls) => (stream, tls),
            Self::Unix(stream) => return Some((Stream::Unix(stream), None)),
        };
        // Answers are small, and written whole.
        drop(stream.set_nodelay(true));
        // A client that has vanished gives its turn back.
        let keepalive = TcpKeepalive::new()
            .with_time(KEEPALIVE)
            .with_interval(KEEPALIVE);
        drop(SockRef::from(&stream).set_tcp_keepalive(&keepalive));
        let Some(tls) = tls else {
            return Some((Stream::Tcp(stream), None));
        };
        let agreed = tokio::time::timeout(HEAD_TIME, tls.accept(stream)).await;
        let (stream, known) = agreed.ok()?.ok()?;
        Some((Stream::Tls(Box::new(stream)), known))
    }
}

/// One connection's surroundings.
struct Connection {
    service: Arc<Service>,
    most_head: usize,
    /// What its client is known by, where it must be.
    known: Option<Known>,
}

impl Connection {
    async fn serve(mut self, accepted: Accepted, protocol: Protocol) {
        let stream = tokio::select! {
            ready = accepted.ready() => ready,
            // Nothing was asked yet.
            () = self.service.end.reaches(Phase::Ending) => None,
        };
        let Some((stream, known)) = stream else {
            return;
        };
        self.known = known;
        match protocol {
            Protocol::Http(http) => {
                let http = Arc::new(http);
                let answer = move |request: Request<Incoming>| {
                    let http = Arc::clone(&http);
                    async move { http.answer(request).await }
                };
                self.answer(self.builder(), stream, answer).await;
            }
            Protocol::Grpc(grpc) => {
                let grpc = Arc::new(grpc);
                let answer = move |request: Request<Incoming>| {
                    let grpc = Arc::clone(&grpc);
                    async move { grpc.answer(request).await }
                };
                self.answer(self.builder().http2_only(), stream, answer)
                    .await;
            }
            Protocol::Components(components) => {
                let answer = move |request: Request<Incoming>| {
                    let components = components.clone();
                    async move { components.answer(request).await }
                };
                self.answer(self.builder(), stream, answer).await;
            }
            Protocol::Status(status) => {
                let answer = move |request: Request<Incoming>| {
                    let status = status.clone();
                    async move { status.answer(request).await }
                };
                self.answer(self.builder(), stream, answer).await;
            }
        }
    }

    fn builder(&self) -> auto::Builder<TokioExecutor> {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        // Go allows 4 KiB more than it is told.
        let most_head = self.most_head.saturating_add(4096);
        builder
            .http1()
            .timer(TokioTimer::new())
            // Who has said all that it wants to say may still listen.
            .half_close(true)
            .header_read_timeout(None)
            .max_buf_size(most_head.max(LEAST_HEAD));
        // Otherwise it is 100, for which the parser needs no memory of its own.
        if self.most_head > DEFAULT_HEAD {
            builder.http1().max_headers(MOST_FIELDS);
        }
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_AFTER)
            .keep_alive_timeout(PING_TIME)
            .max_concurrent_streams(MOST_STREAMS)
            .max_header_list_size(u32::try_from(most_head).unwrap_or(u32::MAX));
        builder
    }

    async fn answer<A, F, B>(
        &self,
        builder: auto::Builder<TokioExecutor>,
        stream: Stream,
        answer: A,
    ) where
        A: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
        F: Future<Output = Response<B>> + Send + 'static,
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let is_told = self.service.audit.is_some() || self.service.traces.is_some();
        let peer = is_told.then(|| stream.peer()).flatten();
        let peer = peer.map(Peer);
        let unread = self.service.unread.connection();
        let counting = Arc::clone(&unread);
        let length = BodyLength::default();
        let stream = Timed::new(stream, HEAD_TIME, UNREAD_TIME, length.clone());
        let service = service_fn(move |mut request: Request<Incoming>| {
            length.tell(http_body::Body::size_hint(request.body()).exact());
            if let Some(peer) = peer {
                request.extensions_mut().insert(peer);
            }
            let (answer, unread) = (answer.clone(), Arc::clone(&counting));
            async move {
                unread.room().await;
                let answer = answer(request).await;
                // A message of gRPC stands behind a flag and its length.
                let message = answer.extensions().get();
                let message = message.map(|Sent(length)| length + 5);
                Ok::<_, Infallible>(answer.map(|body| {
                    let exact = body.size_hint().exact();
                    let exact = exact.and_then(|length| usize::try_from(length).ok());
                    let length = message.or(exact).unwrap_or_default();
                    unread.counted(body, length)
                }))
            }
        });
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let end = &self.service.end;
        let is_known = tokio::select! {
            // A client that goes away, stalls or sends garbage is no news.
            _ = connection.as_mut() => return,
            () = unread.is_stuck() => return,
            () = end.reaches(Phase::Ending) => true,
            () = self.is_unknown() => false,
        };
        connection.as_mut().graceful_shutdown();
        tokio::select! {
            _ = connection => {}
            () = end.reaches(Phase::Now) => {}
            () = tokio::time::sleep(UNKNOWN_TIME), if !is_known => {}
        }
    }

    /// Waits until nobody stands up any more for a client that needs it.
    async fn is_unknown(&self) {
        match &self.known {
            Some(known) => known.ends().await,
            None => std::future::pending().await,
        }
    }
}
