//! Connections to a PostgreSQL server, and what it answers.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::{StreamExt as _, stream};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_postgres::{AsyncMessage, Client};

use super::settings::Settings;
use crate::error::Class;
use crate::reason::Reason;
use crate::stores::StoreError;

/// How many notifications wait to be looked at. Beyond them it is only known that there were more.
const WAITING: usize = 1_000;

/// What a connection is told.
pub(super) struct Notifications {
    payloads: mpsc::Receiver<String>,
    /// Whether some were passed over.
    were_more: Arc<AtomicBool>,
}

impl Notifications {
    /// Waits for payloads; `None` where there were too many to keep them.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<String>>, StoreError> {
        let mut payloads = vec![self.payloads.recv().await.ok_or_else(broken)?];
        while let Ok(payload) = self.payloads.try_recv() {
            payloads.push(payload);
        }
        let were_more = self.were_more.swap(false, Ordering::Relaxed);
        Ok((!were_more).then_some(payloads))
    }
}

impl Settings {
    /// A connection, and what it is told. It ends when the client is dropped.
    pub(super) async fn connect(&self) -> Result<(Client, Notifications), StoreError> {
        let connecting = self.config.connect(self.tls.clone());
        let (client, connection) = self.answer(connecting).await?;
        let (sender, payloads) = mpsc::channel(WAITING);
        let were_more = Arc::new(AtomicBool::new(false));
        tokio::spawn(drive(connection, sender, Arc::clone(&were_more)));
        let notifications = Notifications {
            payloads,
            were_more,
        };
        Ok((client, notifications))
    }

    /// Waits for an answer, for as long as it may take.
    pub(super) async fn answer<T>(
        &self,
        asking: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, StoreError> {
        match timeout(self.timeout, asking).await {
            Ok(answer) => answer.map_err(|error| failure(&error)),
            Err(_) => Err(late()),
        }
    }
}

/// Does a connection's work until it ends. Where nobody listens, what it is told is dropped.
async fn drive<S, T>(
    mut connection: tokio_postgres::Connection<S, T>,
    told: mpsc::Sender<String>,
    were_more: Arc<AtomicBool>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    let mut messages = pin!(stream::poll_fn(move |context| {
        connection.poll_message(context)
    }));
    while let Some(Ok(message)) = messages.next().await {
        if let AsyncMessage::Notification(notification) = message
            && told.try_send(notification.payload().to_owned()).is_err()
        {
            were_more.store(true, Ordering::Relaxed);
        }
    }
}

fn late() -> StoreError {
    StoreError::new(Class::TimedOut, "PostgreSQL did not answer in time")
}

/// The connection has ended.
pub(super) fn broken() -> StoreError {
    let message = "cannot reach PostgreSQL: the connection broke";
    StoreError::new(Class::Unreachable, message)
}

/// What an error says, without the server's own words.
fn failure(error: &tokio_postgres::Error) -> StoreError {
    if let Some(error) = error.as_db_error() {
        return of_state(error.code().code());
    }
    let wrong = StoreError::misconfigured;
    // The kinds of this library's errors have no public names.
    match error.to_string().as_str() {
        "invalid configuration" => {
            wrong("PostgreSQL asks for what `connectionString` lacks, such as a password")
        }
        "authentication error" => {
            StoreError::new(Class::BackendDenied, "the login to PostgreSQL failed")
        }
        text => {
            let reason = Reason::of(error);
            let why = if text == "error performing TLS handshake" && reason.may_pass {
                "no TLS, which the server does not have"
            } else {
                &reason.text
            };
            StoreError::new(reason.class, format!("cannot reach PostgreSQL: {why}"))
        }
    }
}

/// What a code of the server says: <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
fn of_state(code: &str) -> StoreError {
    let (class, message) = match code {
        "28000" | "28P01" => (Class::BackendDenied, "PostgreSQL refuses the login"),
        "3D000" => (Class::StoreMisconfigured, "PostgreSQL has no such database"),
        "42P01" => (Class::StoreMisconfigured, "the table does not exist"),
        "42703" => (
            Class::StoreMisconfigured,
            "the table lacks one of `key`, `value`, `version` and `metadata`",
        ),
        "42501" => (
            Class::BackendDenied,
            "PostgreSQL does not permit its user to read the table",
        ),
        "53300" => (Class::Throttled, "PostgreSQL has too many connections"),
        "57014" => return late(),
        "57P01" | "57P02" | "57P03" => (
            Class::Unreachable,
            "cannot reach PostgreSQL: it starts, or shuts down",
        ),
        _ if code.starts_with("08") => return broken(),
        _ => {
            let message = format!("PostgreSQL answered with error `{code}`");
            return StoreError::new(Class::Internal, message);
        }
    };
    StoreError::new(class, message)
}
