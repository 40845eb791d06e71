//! Servers that misbehave: an API server of Kubernetes, and a way to a server of any kind.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::dapr::{DAPR, GetSecret, Secret};
use crate::library::block_on;
use crate::server::{Server, call_over};

/// What is in all that is answered, and must be seen nowhere.
pub const CANARY: &str = "s3cr3t-canary";
/// Between two bytes of one who is slow.
const PAUSE: Duration = Duration::from_millis(200);

/// After which a request is under way.
const UNDER_WAY: Duration = Duration::from_millis(300);

/// What is done with a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// None: a Secret of any name has `key: s3cr3t`, a ConfigMap `key: value`.
    None,
    /// The same, so much later.
    Late(Duration),
    /// It is read, and nothing is said.
    Hang,
    /// The connection is closed at once.
    Refuse,
    /// There are too many.
    Throttle,
    /// The server has failed.
    Fail,
    /// It is answered in no JSON.
    NoJson,
    /// In JSON of something else.
    OtherJson,
    /// With a page for people.
    Html,
    /// In no HTTP.
    NoHttp,
    /// With less than is announced.
    Truncated,
    /// Up to the middle of the head.
    HalfHead,
    /// Without an end.
    Endless,
    /// The server has said all that it has to say: nothing.
    HalfClose,
    /// A byte at a time.
    Drip,
}

impl Fault {
    /// All that are faults, but for those that are only late.
    pub const ALL: [Self; 13] = [
        Self::Hang,
        Self::Refuse,
        Self::Throttle,
        Self::Fail,
        Self::NoJson,
        Self::OtherJson,
        Self::Html,
        Self::NoHttp,
        Self::Truncated,
        Self::HalfHead,
        Self::Endless,
        Self::HalfClose,
        Self::Drip,
    ];
}

/// An API server that is not one.
#[derive(Debug)]
pub struct ApiServer {
    /// Where it is.
    pub address: SocketAddr,
    fault: Arc<Mutex<Fault>>,
}

impl ApiServer {
    /// Starts it; it ends with the process.
    pub fn start(fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it has an address");
        let fault = Arc::new(Mutex::new(fault));
        let shared = Arc::clone(&fault);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let fault = Arc::clone(&shared);
                thread::spawn(move || serve(stream, &fault));
            }
        });
        Self { address, fault }
    }

    /// Misbehaves in another way from now on.
    pub fn set(&self, fault: Fault) {
        *lock(&self.fault) = fault;
    }

    /// The component of a store of secrets from it, whose kubeconfig is `NAME.kube` in a folder.
    pub fn store(&self, name: &str, folder: &Path) -> String {
        let path = folder.join(format!("{name}.kube"));
        fs::write(&path, self.kubeconfig()).expect("the folder is there");
        format!(
            "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {{name: {name}}}\n\
             spec: {{type: secretstores.kubernetes, version: v1, metadata: \
             [{{name: kubeconfigPath, value: {}}}, {{name: defaultNamespace, value: default}}]}}\n",
            path.display()
        )
    }

    /// A kubeconfig that leads to it.
    pub fn kubeconfig(&self) -> String {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
             clusters: [{{name: c, cluster: {{server: 'http://{}'}}}}]\n\
             users: [{{name: u, user: {{}}}}]\n\
             contexts: [{{name: c, context: {{cluster: c, user: u, namespace: default}}}}]\n",
            self.address
        )
    }
}

/// Sends a request over HTTP/1, and goes away while it is under way. Unless the connection is broken,
/// the server cannot tell that from a client that has said all that it has to say.
pub fn ask_and_close(server: &Server, path: &str, is_broken: bool) {
    let mut stream = TcpStream::connect(server.http).expect("it listens");
    let mut ask = |path: &str| {
        let head = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
        stream.write_all(head.as_bytes()).expect("it reads");
        thread::sleep(UNDER_WAY);
    };
    if is_broken {
        // A connection breaks where its end leaves an answer unread.
        ask("/v1.0/healthz");
    }
    ask(path);
}

/// Sends a request over HTTP/2, and goes away while it is under way.
pub fn ask_and_leave(server: &Server, path: &str) {
    let ask = http::Request::get(format!("http://{}{path}", server.http));
    block_on(async {
        let stream = tokio::net::TcpStream::connect(server.http).await;
        let client = h2::client::handshake(stream.expect("it listens")).await;
        let (mut requests, connection) = client.expect("it speaks HTTP/2");
        let running = tokio::spawn(connection);
        let ask = ask.body(()).expect("it is a request");
        let (answer, _) = requests.send_request(ask, true).expect("it reads");
        let answer = tokio::time::timeout(UNDER_WAY, answer).await;
        assert!(answer.is_err(), "it is answered");
        running.abort();
    });
}

/// Asks for a secret over gRPC, and goes away while the call is under way.
pub fn call_and_leave(server: &Server, store: &str, key: &str) {
    let request = GetSecret {
        store: store.to_owned(),
        key: key.to_owned(),
        metadata: [].into(),
    };
    block_on(async {
        let stream = tokio::net::TcpStream::connect(server.grpc).await;
        let method = format!("{DAPR}/GetSecret");
        let call = call_over::<Secret>(stream.expect("it listens"), &method, &request, &[]);
        let answer = tokio::time::timeout(UNDER_WAY, call).await;
        assert!(answer.is_err(), "it is answered");
    });
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Answers one request, and closes the connection.
fn serve(mut stream: TcpStream, fault: &Mutex<Fault>) {
    if *lock(fault) == Fault::Refuse {
        return;
    }
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).unwrap_or_default() == 0 {
            return;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let fault = *lock(fault);
    let json = |status: &str, body: &str| whole(status, "application/json", body);
    let answer = match fault {
        Fault::None => json("200 OK", &object(&head)),
        Fault::Late(time) => {
            thread::sleep(time);
            json("200 OK", &object(&head))
        }
        // Until the other side has had enough.
        Fault::Hang => return drop(stream.read(&mut byte)),
        Fault::HalfClose => {
            drop(stream.shutdown(Shutdown::Write));
            return drop(stream.read(&mut byte));
        }
        Fault::Refuse => return,
        Fault::Throttle => json("429 Too Many Requests", CANARY),
        Fault::Fail => json("503 Service Unavailable", CANARY),
        Fault::NoJson => json("200 OK", &format!("{{\"data\": {CANARY}")),
        Fault::OtherJson => json("200 OK", &format!("[{{\"{CANARY}\": \"{CANARY}\"}}]")),
        Fault::Html => whole("200 OK", "text/html", &format!("<h1>{CANARY}</h1>")),
        Fault::NoHttp => format!("{CANARY}\r\n{CANARY}\r\n"),
        Fault::Truncated => {
            let whole = json("200 OK", &object(&head).replace("czNjcjN0", CANARY));
            whole[..whole.len() - 10].to_owned()
        }
        Fault::HalfHead => "HTTP/1.1 200 OK\r\nContent-Ty".to_owned(),
        Fault::Endless => return endless(&mut stream),
        Fault::Drip => {
            for byte in json("200 OK", &object(&head)).bytes() {
                if stream.write_all(&[byte]).is_err() {
                    return;
                }
                thread::sleep(PAUSE);
            }
            return;
        }
    };
    drop(stream.write_all(answer.as_bytes()));
}

fn endless(stream: &mut TcpStream) {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{\"";
    let mut part = head.as_bytes().to_vec();
    while stream.write_all(&part).is_ok() {
        part = CANARY.repeat(5000).into_bytes();
    }
}

fn whole(status: &str, kind: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n\
         {body}",
        body.len()
    )
}

/// What is asked for: one Secret, the Secrets or the ConfigMaps of a namespace.
fn object(head: &str) -> String {
    // `s3cr3t`
    let secret = r#"{"metadata":{"name":"s"},"data":{"key":"czNjcjN0"}}"#;
    let path = head.split(' ').nth(1).unwrap_or_default();
    let path = path.split('?').next().unwrap_or_default();
    if path.ends_with("/configmaps") {
        let map =
            r#"{"metadata":{"name":"settings","resourceVersion":"7"},"data":{"key":"value"}}"#;
        format!(
            r#"{{"apiVersion":"v1","kind":"ConfigMapList","metadata":{{"resourceVersion":"7"}},"items":[{map}]}}"#
        )
    } else if path.ends_with("/secrets") {
        format!(
            r#"{{"apiVersion":"v1","kind":"SecretList","metadata":{{"resourceVersion":"7"}},"items":[{secret}]}}"#
        )
    } else {
        format!(r#"{{"apiVersion":"v1","kind":"Secret",{}"#, &secret[1..])
    }
}

/// A way to a port, on which bytes go astray.
#[derive(Debug)]
pub struct Gateway {
    /// Where it begins.
    pub port: u16,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    fault: Fault,
    streams: Vec<TcpStream>,
}

impl Gateway {
    /// Without a fault at first; it ends with the process.
    pub fn to(far: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = listener.local_addr().expect("it has an address").port();
        let state = Arc::new(Mutex::new(State {
            fault: Fault::None,
            streams: Vec::new(),
        }));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                pass(near, far, &shared);
            }
        });
        Self { port, state }
    }

    /// Lets bytes go astray in this way from now on. Connections that there are break, but where
    /// nothing is said any more they hang.
    pub fn set(&self, fault: Fault) {
        let mut state = lock(&self.state);
        state.fault = fault;
        if fault == Fault::Hang {
            return;
        }
        for stream in state.streams.drain(..) {
            drop(stream.shutdown(Shutdown::Both));
        }
    }
}

fn pass(mut near: TcpStream, far: u16, shared: &Arc<Mutex<State>>) {
    let mut state = lock(shared);
    let fault = state.fault;
    state.streams.extend(near.try_clone());
    match fault {
        Fault::None | Fault::Drip | Fault::Hang => {}
        Fault::Refuse => return drop(near.shutdown(Shutdown::Both)),
        Fault::HalfClose => return drop(near.shutdown(Shutdown::Write)),
        Fault::Endless => {
            thread::spawn(move || endless(&mut near));
            return;
        }
        _ => {
            let garbage = format!("{CANARY}\r\n").repeat(20);
            return drop(near.write_all(garbage.as_bytes()));
        }
    }
    let Ok(other) = TcpStream::connect(("127.0.0.1", far)) else {
        return;
    };
    state.streams.extend(other.try_clone());
    for (from, into) in [(&near, &other), (&other, &near)] {
        let (mut from, mut into) = (
            from.try_clone().expect("it can be shared"),
            into.try_clone().expect("it can be shared"),
        );
        let shared = Arc::clone(shared);
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            loop {
                let read = from.read(&mut bytes).unwrap_or_default();
                let fault = lock(&shared).fault;
                let is_sent = match fault {
                    Fault::Hang if read > 0 => Ok(()),
                    Fault::Drip => bytes[..read].chunks(1).try_for_each(|byte| {
                        thread::sleep(PAUSE);
                        into.write_all(byte)
                    }),
                    _ => into.write_all(&bytes[..read]),
                };
                if read == 0 || is_sent.is_err() {
                    return drop(into.shutdown(Shutdown::Both));
                }
            }
        });
    }
}
