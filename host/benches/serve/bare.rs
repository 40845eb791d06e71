//! Handlers that return a constant, as large as what the server answers.

use std::io::Write as _;
use std::net::SocketAddr;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use tokio::net::TcpListener;

use super::proto;

/// What is served.
pub(crate) enum Bare {
    Http,
    Grpc,
}

impl Bare {
    pub(crate) fn of(protocol: &str) -> Self {
        match protocol {
            "http" => Self::Http,
            "grpc" => Self::Grpc,
            _ => panic!("{protocol}"),
        }
    }

    /// Serves until the process is killed, and says where.
    pub(crate) fn serve(&self) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            println!("{address}");
            std::io::stdout().flush().unwrap();
            match self {
                Self::Http => http(listener).await,
                Self::Grpc => grpc(listener, address).await,
            }
        });
    }
}

async fn http(listener: TcpListener) {
    let answer = || async {
        let body = format!("{{\"{}\":\"{}\"}}\n", super::name(0), super::value(0));
        ([(CONTENT_TYPE, "application/json")], body)
    };
    let router = Router::new().route("/v1.0/secrets/{store}/{key}", get(answer));
    axum::serve(listener, router).await.unwrap();
}

async fn grpc(listener: TcpListener, _address: SocketAddr) {
    let incoming = tonic::transport::server::TcpIncoming::from(listener).with_nodelay(Some(true));
    let service = proto::dapr_server::DaprServer::new(Constant);
    let server = tonic::transport::Server::builder().add_service(service);
    server.serve_with_incoming(incoming).await.unwrap();
}

/// Answers one method.
struct Constant;

/// A method that nobody calls.
macro_rules! never {
    ($($name:ident($request:ident) -> $response:ty;)*) => {
        $(
            fn $name<'s, 'a>(
                &'s self,
                _: tonic::Request<proto::$request>,
            ) -> Answer<'a, $response>
            where
                's: 'a,
                Self: 'a,
            {
                Box::pin(async { Err(tonic::Status::unimplemented("")) })
            }
        )*
    };
}

type Answer<'a, R> =
    std::pin::Pin<Box<dyn Future<Output = Result<tonic::Response<R>, tonic::Status>> + Send + 'a>>;
type Changes = tokio_stream::Empty<Result<proto::SubscribeConfigurationResponse, tonic::Status>>;

impl proto::dapr_server::Dapr for Constant {
    type SubscribeConfigurationStream = Changes;
    type SubscribeConfigurationAlpha1Stream = Changes;

    fn get_secret<'s, 'a>(
        &'s self,
        _: tonic::Request<proto::GetSecretRequest>,
    ) -> Answer<'a, proto::GetSecretResponse>
    where
        's: 'a,
        Self: 'a,
    {
        Box::pin(async {
            let data = [(super::name(0), super::value(0))].into();
            Ok(tonic::Response::new(proto::GetSecretResponse { data }))
        })
    }

    never! {
        get_bulk_secret(GetBulkSecretRequest) -> proto::GetBulkSecretResponse;
        get_configuration(GetConfigurationRequest) -> proto::GetConfigurationResponse;
        get_configuration_alpha1(GetConfigurationRequest) -> proto::GetConfigurationResponse;
        subscribe_configuration(SubscribeConfigurationRequest) -> Changes;
        subscribe_configuration_alpha1(SubscribeConfigurationRequest) -> Changes;
        unsubscribe_configuration(UnsubscribeConfigurationRequest) -> proto::UnsubscribeConfigurationResponse;
        unsubscribe_configuration_alpha1(UnsubscribeConfigurationRequest) -> proto::UnsubscribeConfigurationResponse;
        get_metadata(GetMetadataRequest) -> proto::GetMetadataResponse;
        set_metadata(SetMetadataRequest) -> ();
        shutdown(ShutdownRequest) -> ();
    }
}
