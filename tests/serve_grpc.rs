//! What `keyref serve` has of gRPC besides Dapr's methods: reflection, and compressed messages.

use std::io::Write as _;
use std::time::{Duration, Instant};

use flate2::{Compression, write::GzEncoder};
use keyref_tests::dapr::{DAPR, GetSecret, Secret, two_stores};
use keyref_tests::library::block_on;
use keyref_tests::server::{Reply, Server, call_frame, connect, frame};
use prost::Message as _;

/// `ServerReflectionRequest`
#[derive(Clone, PartialEq, prost::Message)]
struct Question {
    #[prost(string, optional, tag = "4")]
    symbol: Option<String>,
    #[prost(string, optional, tag = "7")]
    services: Option<String>,
}

/// `ServerReflectionResponse`
#[derive(Clone, PartialEq, prost::Message)]
struct Answer {
    #[prost(message, optional, tag = "4")]
    files: Option<Files>,
    #[prost(message, optional, tag = "6")]
    services: Option<Services>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Files {
    #[prost(bytes = "vec", repeated, tag = "1")]
    files: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Services {
    #[prost(message, repeated, tag = "1")]
    services: Vec<Name>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Name {
    #[prost(string, tag = "1")]
    name: String,
}

fn method(version: &str) -> String {
    format!("grpc.reflection.{version}.ServerReflection/ServerReflectionInfo")
}

#[test]
fn reflection_tells_what_is_served() {
    let (_work, server) = two_stores(&[], &[("DAPR_API_TOKEN", "t0ken")]);
    let token = [("dapr-api-token", "t0ken")];
    for version in ["v1", "v1alpha"] {
        let question = Question {
            services: Some(String::new()),
            ..Question::default()
        };
        let reply: Reply<Answer> = server.call(&method(version), &question, &token);
        let services = reply.message.unwrap().services.unwrap().services;
        let names: Vec<_> = services
            .iter()
            .map(|service| service.name.as_str())
            .collect();
        let expected = [
            DAPR,
            "grpc.reflection.v1.ServerReflection",
            "grpc.reflection.v1alpha.ServerReflection",
        ];
        assert_eq!(names, expected, "{version}");
        let question = Question {
            symbol: Some(DAPR.to_owned()),
            ..Question::default()
        };
        let reply: Reply<Answer> = server.call(&method(version), &question, &token);
        let files = reply.message.unwrap().files.unwrap().files;
        let text = String::from_utf8_lossy(&files[0]);
        assert!(text.contains("UnsubscribeConfigurationAlpha1"), "{text}");
        let unknown = Question {
            symbol: Some("a.B".to_owned()),
            ..Question::default()
        };
        let reply: Reply<Answer> = server.call(&method(version), &unknown, &token);
        assert_eq!(reply.status, 5);
        let reply: Reply<Answer> = server.call(&method(version), &question, &[]);
        assert_eq!(reply.status, 16);
    }
}

#[test]
fn a_client_that_asks_no_more_does_not_hold_up_the_end() {
    let (_work, mut server) = two_stores(&["--dapr-graceful-shutdown-seconds", "60"], &[]);
    let question = Question {
        services: Some(String::new()),
        ..Question::default()
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let runtime = runtime.unwrap();
    let (mut answer, asking) = runtime.block_on(async {
        let stream = connect(server.grpc).await;
        let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let request = http::Request::post(format!("http://x/{}", method("v1")))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        let (answer, mut asking) = client
            .send_request(request.body(()).unwrap(), false)
            .unwrap();
        asking
            .send_data(frame(&question.encode_to_vec()).into(), false)
            .unwrap();
        (answer.await.unwrap().into_body(), asking)
    });
    assert!(runtime.block_on(answer.data()).unwrap().unwrap().len() > 5);
    let begin = Instant::now();
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0), "{}", server.log());
    assert!(begin.elapsed() < Duration::from_secs(20));
    drop(asking);
}

fn compressed(message: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(message).unwrap();
    let message = encoder.finish().unwrap();
    let length = u32::try_from(message.len()).unwrap();
    [&[1], &length.to_be_bytes()[..], &message].concat()
}

fn call(server: &Server, frame: Vec<u8>, encoding: &str) -> Reply<Secret> {
    block_on(async {
        let stream = connect(server.grpc).await;
        let metadata = [
            ("grpc-encoding", encoding),
            ("grpc-accept-encoding", "gzip"),
        ];
        call_frame(stream, &format!("{DAPR}/GetSecret"), frame, &metadata).await
    })
}

#[test]
fn compressed_messages_are_read_and_their_limit_is_what_they_hold() {
    let (_work, server) = two_stores(&[], &[]);
    let mut request = GetSecret {
        store: "file".to_owned(),
        key: "redis".to_owned(),
        metadata: [].into(),
    };
    let reply = call(&server, compressed(&request.encode_to_vec()), "gzip");
    assert_eq!(
        reply.message.unwrap().data["redis"],
        "s3cr3t-one",
        "{}",
        reply.text
    );
    request.key = "x".repeat(100 << 20);
    let bomb = compressed(&request.encode_to_vec());
    assert!(bomb.len() < 1 << 20);
    assert_eq!(call(&server, bomb, "gzip").status, 8);
    // What is no gzip, and what is not known.
    assert_eq!(call(&server, vec![1, 0, 0, 0, 1, 9], "gzip").status, 13);
    assert_eq!(call(&server, vec![1, 0, 0, 0, 1, 9], "br").status, 12);
    assert!(!server.log().contains("s3cr3t"));
}
