//! `keyref serve` as a child, and clients that see each byte.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::encoding::{base64, percent_decoded};
use crate::keyref;
use crate::library::block_on;

/// How long anything may take before a test has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server on free ports, ended when dropped.
#[derive(Debug)]
pub struct Server {
    process: Process,
    /// Where HTTP is served.
    pub http: SocketAddr,
    /// Where gRPC is served.
    pub grpc: SocketAddr,
    /// Where health and metadata alone are served.
    pub public: Option<SocketAddr>,
    /// Where metrics are served.
    pub metrics: Option<SocketAddr>,
    /// Where resolved components are served.
    pub components: Option<SocketAddr>,
    /// Where the status page is shown.
    pub status: Option<SocketAddr>,
}

/// A child and what it has said so far, ended when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: Arc<Log>,
}

/// What a child has said so far, to standard output and standard error.
#[derive(Debug, Default)]
struct Log {
    /// The text, and how many of its streams have ended.
    text: Mutex<(String, usize)>,
    changed: Condvar,
}

impl Log {
    fn collect(self: &Arc<Self>, stream: impl Read + Send + 'static) {
        let log = Arc::clone(self);
        std::thread::spawn(move || {
            let mut lines = BufReader::new(stream);
            loop {
                let mut line = Vec::new();
                let read = lines.read_until(b'\n', &mut line).unwrap_or_default();
                let mut text = log.text.lock().unwrap_or_else(PoisonError::into_inner);
                text.0.push_str(&String::from_utf8_lossy(&line));
                text.1 += usize::from(read == 0);
                log.changed.notify_all();
                if read == 0 {
                    return;
                }
            }
        });
    }

    /// Waits until this is said, or nothing more can be; all so far.
    fn wait_for(&self, part: &str) -> String {
        let text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = |(text, ended): &mut (String, usize)| !text.contains(part) && *ended < 2;
        let waited = self.changed.wait_timeout_while(text, PATIENCE, waiting);
        let (text, _) = waited.unwrap_or_else(PoisonError::into_inner);
        text.0.clone()
    }
}

/// The command in a folder, with no variable but these, on free ports.
pub fn command(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Command {
    let serve = [
        "serve",
        "--dapr-http-port",
        "0",
        "--dapr-grpc-port",
        "0",
        "--metrics-port",
        "0",
        "--metrics-listen-address",
        "127.0.0.1",
        "--log-as-json",
    ];
    program(
        keyref(),
        folder,
        &[&serve[..], arguments].concat(),
        variables,
    )
}

/// A program in a folder, with no variable but these.
pub fn program(
    path: &Path,
    folder: &Path,
    arguments: &[&str],
    variables: &[(&str, &str)],
) -> Command {
    let mut command = Command::new(path);
    command
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs a server that does not come up, to its end; its status and log.
pub fn refused(
    folder: &Path,
    arguments: &[&str],
    variables: &[(&str, &str)],
) -> (ExitStatus, String) {
    let mut process = Process::start(command(folder, arguments, variables));
    let text = process.log.wait_for("dapr initialized");
    if text.contains("dapr initialized") {
        drop(process.child.kill());
    }
    (process.wait(), text)
}

impl Process {
    /// Starts a command.
    pub fn start(mut command: Command) -> Self {
        let mut child = command.spawn().expect("it can be run");
        let log = Arc::new(Log::default());
        log.collect(child.stderr.take().expect("it is piped"));
        log.collect(child.stdout.take().expect("it is piped"));
        Self { child, log }
    }

    /// What it has said so far.
    pub fn log(&self) -> String {
        self.log.wait_for("")
    }

    /// Waits until this is said.
    pub fn wait_for_log(&self, part: &str) {
        let text = self.log.wait_for(part);
        assert!(text.contains(part), "`{part}` is not in the log: {text}");
    }

    /// Sends a signal, such as `TERM`.
    pub fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", signal, &id]).status();
        assert!(sent.expect("kill can be run").success());
    }

    /// Waits for its end; its status.
    pub fn wait(&mut self) -> ExitStatus {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("it can be waited for") {
                return status;
            }
            assert!(
                begin.elapsed() < PATIENCE,
                "it does not end: {}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for its end and for all that it says until then.
    pub fn output(mut self) -> (ExitStatus, String) {
        let status = self.wait();
        // What nobody says.
        (status, self.log.wait_for("\0"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Server {
    /// Starts a server and waits until it is ready.
    pub fn start(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        Self::run(command(folder, arguments, variables))
    }

    /// Starts a command that serves and waits until it is ready.
    pub fn run(command: Command) -> Self {
        let process = Process::start(command);
        let text = process.log.wait_for("dapr initialized");
        assert!(text.contains("dapr initialized"), "not ready: {text}");
        let address = |protocol: &str| {
            let begin = format!("\"{protocol} server listening on TCP address: ");
            let (_, rest) = text.split_once(&begin)?;
            rest.split_once('"')?.0.parse().ok()
        };
        // Sockets that are files have none.
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let is_nowhere = text.contains("server listening on UNIX socket: ");
        let address_or_file =
            |protocol| address(protocol).or_else(|| is_nowhere.then_some(nowhere));
        Self {
            http: address_or_file("HTTP").expect("it logs where HTTP is served"),
            grpc: address_or_file("gRPC").expect("it logs where gRPC is served"),
            public: address("public HTTP"),
            metrics: address("metrics"),
            components: address("components"),
            status: address("status"),
            process,
        }
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Waits until this is logged.
    pub fn wait_for_log(&self, part: &str) {
        self.process.wait_for_log(part);
    }

    /// How much memory it holds, in KiB.
    pub fn resident(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// The most memory that it has held, in KiB.
    pub fn most_resident(&self) -> u64 {
        self.status("VmHWM:")
    }

    /// How many threads it has.
    pub fn threads(&self) -> u64 {
        self.status("Threads:")
    }

    /// How many files, and connections, it has open.
    pub fn files(&self) -> u64 {
        let files = format!("/proc/{}/fd", self.process.child.id());
        let count = std::fs::read_dir(files).expect("it runs").count();
        count.try_into().expect("they are not that many")
    }

    /// A line of what Linux says of it.
    fn status(&self, field: &str) -> u64 {
        let status = format!("/proc/{}/status", self.process.child.id());
        let status = std::fs::read_to_string(status).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let number = line.and_then(|line| line.split_whitespace().next());
        number
            .and_then(|number| number.parse().ok())
            .expect("Linux tells")
    }

    /// Sends a signal, such as `TERM`.
    pub fn signal(&self, signal: &str) {
        self.process.signal(signal);
    }

    /// Waits for its end; its status.
    pub fn wait(&mut self) -> ExitStatus {
        self.process.wait()
    }

    /// Asks over HTTP, in a connection of its own.
    pub fn ask(&self, ask: &str) -> Answer {
        ask_at(self.http, ask, &[], "")
    }

    /// Calls a method over gRPC, such as `dapr.proto.runtime.v1.Dapr/GetSecret`.
    pub fn call<R: Message + Default>(
        &self,
        method: &str,
        message: &impl Message,
        metadata: &[(&str, &str)],
    ) -> Reply<R> {
        call_at(self.grpc, method, message, metadata)
    }
}

/// Calls a method at an address.
pub fn call_at<R: Message + Default>(
    address: SocketAddr,
    method: &str,
    message: &impl Message,
    metadata: &[(&str, &str)],
) -> Reply<R> {
    block_on(async { call_over(connect(address).await, method, message, metadata).await })
}

/// An answer over HTTP.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers, names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: String,
}

/// Asks over HTTP, with these headers and this body.
pub fn ask_at(address: SocketAddr, ask: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let stream = TcpStream::connect(address).expect("it listens");
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("it is a time");
    ask_over(stream, ask, headers, body)
}

/// Asks over HTTP, in a connection that is there, and that ends with it.
pub fn ask_over(
    mut stream: impl Read + Write,
    ask: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let mut head = format!("{ask} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    for (name, value) in headers {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    if !body.is_empty() {
        let _ = write!(head, "Content-Length: {}\r\n", body.len());
    }
    let sent = format!("{head}\r\n{body}");
    // A server that refuses a long request may not read it to its end.
    drop(stream.write_all(sent.as_bytes()));
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer));
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("{ask}: {answer:?}"));
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned()));
    Answer {
        status: status.expect("it has a status"),
        headers: headers.collect(),
        body: body.to_owned(),
    }
}

/// A reply over gRPC.
#[derive(Debug)]
pub struct Reply<R> {
    /// The status, as its number.
    pub status: u32,
    /// What is said of it.
    pub text: String,
    /// Its details.
    pub details: Vec<Detail>,
    /// The metadata that it begins with.
    pub head: http::HeaderMap,
    /// The message, where there is one.
    pub message: Option<R>,
}

/// A call that is answered more than once.
#[derive(Debug)]
pub struct Stream {
    runtime: tokio::runtime::Runtime,
    body: h2::RecvStream,
    data: Vec<u8>,
    /// The status, where the call was refused.
    pub status: Option<u32>,
}

impl Stream {
    /// Calls a method.
    pub fn open(
        address: SocketAddr,
        method: &str,
        message: &impl Message,
        metadata: &[(&str, &str)],
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime.expect("a runtime can be made");
        let message = message.encode_to_vec();
        let (head, body) = runtime.block_on(async {
            let frame = frame(&message);
            let (answer, _) = send(connect(address).await, method, frame, metadata).await;
            answer.await.expect("it answers").into_parts()
        });
        let status = head.headers.get("grpc-status");
        let status = status.and_then(|status| status.to_str().ok()?.parse().ok());
        Self {
            runtime,
            body,
            data: Vec::new(),
            status,
        }
    }

    /// The next message, or nothing where the stream has ended.
    pub fn receive<R: Message + Default>(&mut self) -> Option<R> {
        self.within(PATIENCE).expect("a message comes, or the end")
    }

    /// The status that the stream ends with, after its last message; nothing where it breaks off.
    pub fn end(&mut self) -> Option<u32> {
        assert_eq!(self.receive::<crate::dapr::Empty>(), None);
        let trailers = self.runtime.block_on(self.body.trailers()).ok()??;
        trailers.get("grpc-status")?.to_str().ok()?.parse().ok()
    }

    /// Whether no message comes for a while.
    pub fn is_silent(&mut self, time: Duration) -> bool {
        self.within::<crate::dapr::Empty>(time).is_err()
    }

    fn within<R: Message + Default>(&mut self, time: Duration) -> Result<Option<R>, ()> {
        let (body, data) = (&mut self.body, &mut self.data);
        self.runtime.block_on(async {
            loop {
                if let Some((length, rest)) = data.get(1..).and_then(<[u8]>::split_first_chunk) {
                    let length = u32::from_be_bytes(*length) as usize;
                    if let Some(message) = rest.get(..length) {
                        let message = R::decode(message).expect("it is a message");
                        data.drain(..length + 5);
                        return Ok(Some(message));
                    }
                }
                match tokio::time::timeout(time, body.data()).await {
                    Ok(Some(Ok(chunk))) => {
                        drop(body.flow_control().release_capacity(chunk.len()));
                        data.extend_from_slice(&chunk);
                    }
                    Ok(_) => return Ok(None),
                    Err(_) => return Err(()),
                }
            }
        })
    }
}

/// `google.rpc.ErrorInfo`
#[derive(Clone, PartialEq, prost::Message)]
pub struct Detail {
    /// Dapr's code.
    #[prost(string, tag = "1")]
    pub reason: String,
    /// `dapr.io`
    #[prost(string, tag = "2")]
    pub domain: String,
    /// What else is said.
    #[prost(btree_map = "string, string", tag = "3")]
    pub metadata: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Any {
    #[prost(string, tag = "1")]
    kind: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// Sends a call; its answer, and the connection that carries it.
async fn send(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    method: &str,
    frame: Vec<u8>,
    metadata: &[(&str, &str)],
) -> (h2::client::ResponseFuture, tokio::task::AbortHandle) {
    let (client, connection) = h2::client::handshake(stream)
        .await
        .expect("it speaks HTTP/2");
    let connection = tokio::spawn(connection).abort_handle();
    let mut request = http::Request::post(format!("http://localhost/{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    for (name, value) in metadata {
        request = request.header(*name, *value);
    }
    let request = request.body(()).expect("it is a request");
    let mut client = client.ready().await.expect("it takes requests");
    let (answer, mut body) = client
        .send_request(request, false)
        .expect("it takes this one");
    // A server that refuses a long message may not read it to its end.
    drop(body.send_data(Bytes::from(frame), true));
    (answer, connection)
}

/// Connects to an address.
pub async fn connect(address: SocketAddr) -> tokio::net::TcpStream {
    let stream = tokio::net::TcpStream::connect(address).await;
    stream.expect("it listens")
}

/// Calls a method over gRPC, in a connection that is there.
pub async fn call_over<R: Message + Default>(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    method: &str,
    message: &impl Message,
    metadata: &[(&str, &str)],
) -> Reply<R> {
    let message = message.encode_to_vec();
    call_frame(stream, method, frame(&message), metadata).await
}

/// A message as gRPC frames it, not compressed.
pub fn frame(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("it is not that long");
    [&[0], &length.to_be_bytes()[..], message].concat()
}

/// Calls a method with what is a message, or is not.
pub async fn call_frame<R: Message + Default>(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    method: &str,
    frame: Vec<u8>,
    metadata: &[(&str, &str)],
) -> Reply<R> {
    let (answer, connection) = send(stream, method, frame, metadata).await;
    let (head, mut body) = answer.await.expect("it answers").into_parts();
    let mut data = Vec::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk.expect("it sends its answer to the end");
        drop(body.flow_control().release_capacity(chunk.len()));
        data.extend_from_slice(&chunk);
    }
    let trailers = body.trailers().await.expect("it sends trailers");
    connection.abort();
    let last = trailers.unwrap_or_else(|| head.headers.clone());
    let text = |name| last.get(name).and_then(|value| value.to_str().ok());
    let details = text("grpc-status-details-bin").map(|details| {
        let details = base64(details);
        let status = Status::decode(details.as_slice()).expect("they are a status");
        let details = status.details.into_iter();
        let details = details.map(|any| Detail::decode(any.value.as_slice()));
        details
            .map(|detail| detail.expect("it is an error's"))
            .collect()
    });
    Reply {
        status: text("grpc-status")
            .and_then(|status| status.parse().ok())
            .expect("it has one"),
        text: percent_decoded(text("grpc-message").unwrap_or_default()),
        details: details.unwrap_or_default(),
        head: head.headers,
        message: data
            .get(5..)
            .map(|data| R::decode(data).expect("it is a message")),
    }
}
