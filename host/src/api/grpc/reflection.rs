//! What a client asks to learn what is served: gRPC's reflection, in both of its versions.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{Request, Response};
use http_body_util::{BodyStream, StreamBody};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service as _;
use tonic_reflection::pb;
use tonic_reflection::server::{Builder, Error};

use crate::api::end::Phase;
use crate::api::service::Service;

/// The protocol's file as protobuf describes it, from `proto/dapr/runtime.proto`.
const PROTOCOL: &[u8] = include_bytes!("proto.bin");
/// How many bytes a question may have: it is a name. Nobody waits for its end.
const MOST_QUESTION: usize = 4 << 10;

/// Whether a path is one of reflection's.
pub(super) fn has(path: &str) -> bool {
    path.starts_with("/grpc.reflection.")
}

/// Answers a call, until the client or the server ends it. What it takes is made for each one, since
/// people ask, and no app.
pub(super) async fn answer<B>(service: Arc<Service>, request: Request<B>) -> Response<Body>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send + 'static,
{
    let is_alpha = request
        .uri()
        .path()
        .starts_with("/grpc.reflection.v1alpha.");
    let request = request.map(|body| {
        // A client that asks nothing more must not hold up the end.
        let end = Box::pin(async move { service.end.reaches(Phase::Ending).await });
        StreamBody::new(BodyStream::new(body).take_until(end))
    });
    let answered = if is_alpha {
        match builder().build_v1alpha() {
            Ok(server) => {
                server
                    .max_decoding_message_size(MOST_QUESTION)
                    .call(request)
                    .await
            }
            Err(error) => return unfit(&error),
        }
    } else {
        match builder().build_v1() {
            Ok(server) => {
                server
                    .max_decoding_message_size(MOST_QUESTION)
                    .call(request)
                    .await
            }
            Err(error) => return unfit(&error),
        }
    };
    match answered {
        Ok(answer) => answer,
        Err(never) => match never {},
    }
}

fn builder() -> Builder<'static> {
    Builder::configure()
        .include_reflection_service(false)
        .register_encoded_file_descriptor_set(PROTOCOL)
        .register_encoded_file_descriptor_set(pb::v1::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(pb::v1alpha::FILE_DESCRIPTOR_SET)
}

/// The descriptions are committed, and a test reads them.
fn unfit(error: &Error) -> Response<Body> {
    tracing::error!("reflection cannot be served: {error}");
    Status::internal("reflection cannot be served").into_http()
}
