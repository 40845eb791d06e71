//! Who asks: what tells callers apart that share an app's token.

use std::net::SocketAddr;

use http::header::USER_AGENT;
use http::{Extensions, HeaderMap};
use serde::Serialize;

/// How many characters of a user agent are kept.
const MOST_AGENT: usize = 256;

/// Where a connection comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// Who asks.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Caller {
    /// `http` or `grpc`.
    pub protocol: &'static str,
    /// The address and port that the connection comes from, where it has one.
    pub peer: Option<SocketAddr>,
    /// What the caller says that it is: its `User-Agent`, of which 256 characters are kept.
    pub agent: Option<String>,
    /// Whether it has shown the API token.
    pub token: bool,
}

impl Caller {
    pub(crate) fn of(
        protocol: &'static str,
        extensions: &Extensions,
        headers: &HeaderMap,
        token: bool,
    ) -> Self {
        let agent = headers.get(USER_AGENT);
        let agent = agent.map(|agent| String::from_utf8_lossy(agent.as_bytes()));
        Self {
            protocol,
            peer: extensions.get().map(|Peer(address)| *address),
            agent: agent.map(|agent| agent.chars().take(MOST_AGENT).collect()),
            token,
        }
    }
}
