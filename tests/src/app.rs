//! An app that is told something, over whatever it speaks.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

/// How long anything may take before a test has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// An app, which goes away when dropped.
#[derive(Debug)]
pub struct App {
    /// Where it listens.
    pub address: SocketAddr,
    told: Receiver<Told>,
    _runtime: Runtime,
}

/// What an app was told.
#[derive(Clone, Debug)]
pub struct Told {
    /// The path.
    pub path: String,
    /// The headers, names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body as it came.
    pub body: Vec<u8>,
}

/// How an app answers.
#[derive(Clone)]
struct Manner {
    tls: Option<TlsAcceptor>,
    is_http2: bool,
    is_grpc: bool,
    /// The statuses of the first answers; those after them are good.
    statuses: Arc<Mutex<VecDeque<u16>>>,
    sender: Sender<Told>,
}

impl App {
    /// Listens at an address, with `h2c` for instance. The first answers have these statuses, of
    /// HTTP or of gRPC.
    pub fn start(
        address: SocketAddr,
        protocol: &str,
        tls: Option<TlsAcceptor>,
        statuses: &[u16],
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build();
        let runtime = runtime.expect("a runtime can be made");
        let (sender, told) = channel();
        let manner = Manner {
            tls,
            is_http2: !protocol.starts_with("http"),
            is_grpc: protocol.starts_with("grpc"),
            statuses: Arc::new(Mutex::new(statuses.iter().copied().collect())),
            sender,
        };
        let listener = runtime.block_on(TcpListener::bind(address));
        let listener = listener.expect("the address is free");
        let address = listener.local_addr().expect("it has one");
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(manner.clone().serve(stream));
            }
        });
        Self {
            address,
            told,
            _runtime: runtime,
        }
    }

    /// Waits until it is told something.
    pub fn told(&self) -> Told {
        let told = self.told.recv_timeout(PATIENCE);
        told.expect("it is told something")
    }

    /// Whether it is told nothing for a while.
    pub fn is_silent(&self, time: Duration) -> bool {
        self.told.recv_timeout(time).is_err()
    }
}

impl Manner {
    async fn serve(self, stream: TcpStream) {
        match &self.tls {
            None => self.answer(stream).await,
            Some(tls) => {
                if let Ok(stream) = tls.accept(stream).await {
                    self.answer(stream).await;
                }
            }
        }
    }

    async fn answer(&self, stream: impl AsyncRead + AsyncWrite + Send + Unpin) {
        if self.is_http2 {
            drop(self.http2(stream).await);
        } else {
            drop(self.http1(stream).await);
        }
    }

    fn status(&self) -> u16 {
        let mut statuses = self.statuses.lock().unwrap_or_else(PoisonError::into_inner);
        let good = if self.is_grpc { 0 } else { 200 };
        statuses.pop_front().unwrap_or(good)
    }

    async fn http1(
        &self,
        mut stream: impl AsyncRead + AsyncWrite + Send + Unpin,
    ) -> std::io::Result<()> {
        let mut read = Vec::new();
        loop {
            let end = loop {
                if let Some(end) = read.windows(4).position(|part| part == b"\r\n\r\n") {
                    break end + 4;
                }
                if stream.read_buf(&mut read).await? == 0 {
                    return Ok(());
                }
            };
            let head = String::from_utf8_lossy(&read[..end]).into_owned();
            let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
            let headers = head.lines().filter_map(|line| line.split_once(": "));
            let headers: BTreeMap<_, _> = headers
                .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
                .collect();
            let length = headers
                .get("content-length")
                .and_then(|length| length.parse().ok());
            let whole = end + length.unwrap_or(0);
            while read.len() < whole {
                if stream.read_buf(&mut read).await? == 0 {
                    return Ok(());
                }
            }
            let body = read[end..whole].to_vec();
            read.drain(..whole);
            let status = self.status();
            drop(self.sender.send(Told {
                path,
                headers,
                body,
            }));
            let answer = format!("HTTP/1.1 {status} Fine\r\nContent-Length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).await?;
        }
    }

    async fn http2(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin,
    ) -> Result<(), h2::Error> {
        let mut connection = h2::server::handshake(stream).await?;
        while let Some(request) = connection.accept().await {
            let (request, mut respond) = request?;
            let manner = self.clone();
            tokio::spawn(async move {
                let (head, mut read) = request.into_parts();
                let mut body = Vec::new();
                while let Some(Ok(part)) = read.data().await {
                    drop(read.flow_control().release_capacity(part.len()));
                    body.extend_from_slice(&part);
                }
                let headers = head.headers.iter();
                let headers = headers.map(|(name, value)| {
                    let value = String::from_utf8_lossy(value.as_bytes());
                    (name.to_string(), value.into_owned())
                });
                let told = Told {
                    path: head.uri.path().to_owned(),
                    headers: headers.collect(),
                    body,
                };
                let status = manner.status();
                drop(manner.sender.send(told));
                drop(answer(&mut respond, status, manner.is_grpc));
            });
        }
        Ok(())
    }
}

fn answer(
    respond: &mut h2::server::SendResponse<Bytes>,
    status: u16,
    is_grpc: bool,
) -> Result<(), h2::Error> {
    let answer = http::Response::builder();
    if !is_grpc {
        let answer = answer.status(status).body(()).expect("it is an answer");
        respond.send_response(answer, true)?;
        return Ok(());
    }
    let answer = answer.header("content-type", "application/grpc").body(());
    let mut body = respond.send_response(answer.expect("it is an answer"), false)?;
    if status == 0 {
        body.send_data(Bytes::from_static(&[0; 5]), false)?;
    }
    let trailers = [("grpc-status".parse(), status.to_string().parse())];
    let trailers =
        trailers.map(|(name, value)| (name.expect("it is a name"), value.expect("it is a value")));
    body.send_trailers(trailers.into_iter().collect())
}
