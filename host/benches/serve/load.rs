//! Clients that ask again as soon as they have an answer, all on one thread.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{KEYS, TOKEN, name, proto};

pub(crate) const CONNECTIONS: usize = 64;

/// A server to ask.
pub(crate) struct Target {
    is_grpc: bool,
    address: SocketAddr,
}

/// What came of asking.
pub(crate) struct Load {
    /// Requests a second.
    pub(crate) rate: f64,
    /// How long each took in microseconds, sorted.
    latencies: Vec<u32>,
}

impl Load {
    /// The time in milliseconds within which this share of the requests was answered.
    pub(crate) fn percentile(&self, share: f64) -> f64 {
        let last = self.latencies.len() - 1;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of a length"
        )]
        let index = (share * last as f64) as usize;
        f64::from(self.latencies[index]) / 1e3
    }
}

impl Target {
    pub(crate) fn of(protocol: &str, address: SocketAddr) -> Self {
        Self {
            is_grpc: protocol == "gRPC",
            address,
        }
    }

    /// Asks for a while.
    pub(crate) fn load(&self, time: Duration) -> Load {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(async {
            let mut clients = tokio::task::JoinSet::new();
            let begin = Instant::now();
            let end = begin + time;
            for client in 0..CONNECTIONS {
                let (address, first) = (self.address, client * 7);
                if self.is_grpc {
                    clients.spawn(grpc(address, first, end));
                } else {
                    clients.spawn(http(address, first, end));
                }
            }
            let mut latencies: Vec<u32> = Vec::new();
            while let Some(client) = clients.join_next().await {
                latencies.extend(client.unwrap());
            }
            let rate = latencies.len() as f64 / begin.elapsed().as_secs_f64();
            latencies.sort_unstable();
            Load { rate, latencies }
        })
    }
}

fn microseconds(begin: Instant) -> u32 {
    u32::try_from(begin.elapsed().as_micros()).unwrap()
}

async fn http(address: SocketAddr, first: usize, end: Instant) -> Vec<u32> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut latencies = Vec::new();
    let mut answer = vec![0; 4096];
    for key in first.. {
        let ask = format!(
            "GET /v1.0/secrets/vault/{} HTTP/1.1\r\nHost: localhost\r\ndapr-api-token: {TOKEN}\r\n\r\n",
            name(key % KEYS)
        );
        let begin = Instant::now();
        stream.write_all(ask.as_bytes()).await.unwrap();
        // An answer ends with the brace and the line break of its body.
        let mut length = 0;
        while !answer[..length].ends_with(b"}\n") {
            let read = stream.read(&mut answer[length..]).await.unwrap();
            assert!(read > 0, "the server has gone");
            length += read;
        }
        latencies.push(microseconds(begin));
        assert!(answer.starts_with(b"HTTP/1.1 200 "));
        if begin > end {
            break;
        }
    }
    latencies
}

async fn grpc(address: SocketAddr, first: usize, end: Instant) -> Vec<u32> {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut latencies = Vec::new();
    for key in first.. {
        let message = proto::GetSecretRequest {
            store_name: "vault".to_owned(),
            key: name(key % KEYS),
            metadata: std::collections::BTreeMap::new(),
        };
        let message = message.encode_to_vec();
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        let frame = Bytes::from([&[0], &length[..], &message].concat());
        let request = http::Request::post("http://localhost/dapr.proto.runtime.v1.Dapr/GetSecret")
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("dapr-api-token", TOKEN)
            .body(())
            .unwrap();
        let begin = Instant::now();
        client = client.ready().await.unwrap();
        let (answer, mut body) = client.send_request(request, false).unwrap();
        body.send_data(frame, true).unwrap();
        let mut body = answer.await.unwrap().into_body();
        let mut length = 0;
        while let Some(data) = body.data().await {
            let data = data.unwrap();
            length += data.len();
            body.flow_control().release_capacity(data.len()).unwrap();
        }
        let trailers = body.trailers().await.unwrap();
        latencies.push(microseconds(begin));
        assert!(length > 5 && trailers.is_some(), "the call failed");
        if begin > end {
            break;
        }
    }
    connection.abort();
    latencies
}
