//! Connections to a Redis server, and what it answers.

use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection, PubSub};
use redis::{AsyncConnectionConfig, ErrorKind, RedisError, RedisResult, ServerErrorKind};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::settings::Settings;
use crate::error::Class;
use crate::reason::Reason;
use crate::stores::StoreError;

/// When a silent connection is looked after, and how often then.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// A stream of bytes, encrypted or not.
trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

impl Settings {
    /// A connection for questions. It lives until its last clone is dropped.
    pub(super) async fn connection(&self) -> Result<MultiplexedConnection, StoreError> {
        // Times are kept here.
        let times = AsyncConnectionConfig::new().set_response_timeout(None);
        let connecting = async {
            let transport = self.transport().await?;
            let logging_in = MultiplexedConnection::new_with_config(&self.login, transport, times);
            logging_in.await.map_err(|error| failure(&error))
        };
        let (connection, driver) = in_time(self.dial, connecting).await?;
        tokio::spawn(driver);
        Ok(connection)
    }

    /// A connection that is told of events.
    pub(super) async fn events(&self) -> Result<PubSub, StoreError> {
        let connecting = async {
            let transport = self.transport().await?;
            let logging_in = PubSub::new(&self.login, transport);
            logging_in.await.map_err(|error| failure(&error))
        };
        in_time(self.dial, connecting).await
    }

    async fn transport(&self) -> Result<Box<dyn Transport + 'static>, StoreError> {
        let unreachable = |error: std::io::Error| {
            let reason = Reason::of(&error);
            StoreError::new(reason.class, format!("cannot reach Redis: {}", reason.text))
        };
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await;
        let stream = stream.map_err(unreachable)?;
        stream.set_nodelay(true).map_err(unreachable)?;
        // So that one whose server has vanished ends.
        let keepalive = TcpKeepalive::new()
            .with_time(KEEPALIVE)
            .with_interval(KEEPALIVE);
        let keeping = SockRef::from(&stream).set_tcp_keepalive(&keepalive);
        keeping.map_err(unreachable)?;
        match &self.tls {
            None => Ok(Box::new(stream)),
            Some(tls) => {
                let stream = tls.connector.connect(tls.name.clone(), stream).await;
                Ok(Box::new(stream.map_err(unreachable)?))
            }
        }
    }

    /// Waits for an answer, for as long as it may take.
    pub(super) async fn answer<T>(
        &self,
        asking: impl Future<Output = RedisResult<T>>,
    ) -> Result<T, StoreError> {
        let answering = async { asking.await.map_err(|error| failure(&error)) };
        in_time(self.read, answering).await
    }

    /// Asks for what a command answers.
    pub(super) async fn ask<T: redis::FromRedisValue>(
        &self,
        connection: &mut impl ConnectionLike,
        command: &redis::Cmd,
    ) -> Result<T, StoreError> {
        self.answer(command.query_async(connection)).await
    }
}

async fn in_time<T>(
    most: Duration,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    timeout(most, work).await.unwrap_or_else(|_| {
        let message = "Redis did not answer in time";
        Err(StoreError::new(Class::TimedOut, message))
    })
}

/// The connection has ended.
pub(super) fn broken() -> StoreError {
    StoreError::new(
        Class::Unreachable,
        "cannot reach Redis: the connection broke",
    )
}

/// What an error says, without the server's own words.
pub(super) fn failure(error: &RedisError) -> StoreError {
    let new = |class, message: &str| StoreError::new(class, message);
    match error.kind() {
        ErrorKind::Io if error.is_timeout() => {
            new(Class::TimedOut, "Redis did not answer in time")
        }
        ErrorKind::Io => broken(),
        ErrorKind::Parse | ErrorKind::UnexpectedReturnType => new(
            Class::Unreachable,
            "cannot reach Redis: what answers there is something else",
        ),
        ErrorKind::AuthenticationFailed => refused_login(),
        ErrorKind::Server(ServerErrorKind::NoPerm) => new(
            Class::BackendDenied,
            "Redis does not permit this to its user",
        )
        .with_hint("grant `+mget +scan +subscribe +psubscribe`, the keys `~*` and the channels `&__keyspace*`"),
        ErrorKind::Server(
            ServerErrorKind::BusyLoading
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::MasterDown
            | ServerErrorKind::TryAgain,
        ) => new(Class::Unreachable, "Redis cannot serve this for now"),
        ErrorKind::Server(
            ServerErrorKind::Ask | ServerErrorKind::CrossSlot | ServerErrorKind::Moved,
        ) => new(
            Class::StoreMisconfigured,
            "Redis is part of a cluster, which is not supported",
        ),
        _ => match error.code() {
            Some("NOAUTH" | "WRONGPASS") => refused_login(),
            _ => new(Class::Internal, "Redis answered with an error")
                .with_hint("check the login, and that the database of `redisDB` exists"),
        },
    }
}

fn refused_login() -> StoreError {
    StoreError::new(Class::BackendDenied, "Redis refuses the login")
        .with_hint("check `redisUsername` and `redisPassword`")
}
