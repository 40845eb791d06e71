//! What happens in a cluster, as the API server tells it: a line for each event.

use std::sync::Arc;

use http_body_util::BodyExt as _;
use kube::client::Body;

use super::failure::Failure;
use crate::error::Class;
use crate::stores::StoreError;

/// The longest line: an object of 1 MiB with its escapes.
const LONGEST: usize = 8 << 20;

/// Events that are under way.
pub(crate) struct Events {
    body: Body,
    /// What has come and is not handed on.
    text: Vec<u8>,
    /// How much of it is known to have no line break.
    looked: usize,
    /// Where the server is, for messages.
    server: Arc<str>,
}

impl Events {
    pub(super) fn new(body: Body, server: Arc<str>) -> Self {
        Self {
            body,
            text: Vec::new(),
            looked: 0,
            server,
        }
    }

    /// Waits for the next event, in JSON; nothing where the server has ended them, as it does from
    /// time to time. Nothing is lost where the wait is given up.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        loop {
            let rest = self.text.get(self.looked..).unwrap_or_default();
            if let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
                let end = self.looked + end + 1;
                self.looked = 0;
                return Ok(Some(self.text.drain(..end).collect()));
            }
            self.looked = self.text.len();
            if self.looked > LONGEST {
                let message = "an event of the API server is too large";
                return Err(StoreError::new(Class::Unreachable, message));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Ok(frame)) => {
                    if let Ok(part) = frame.into_data() {
                        self.text.extend_from_slice(&part);
                    }
                }
                Some(Err(error)) => {
                    return Err(Failure::of_connection(&error, &self.server).error);
                }
            }
        }
    }
}
