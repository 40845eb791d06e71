//! `--wait`: until the server on this machine is ready, as `daprd` does it.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body_util::Empty;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::time::Instant;

use super::{Status, output};

/// How long to wait where nobody says.
pub(super) const PATIENCE: Duration = Duration::from_mins(1);
/// How long one answer may take.
const REQUEST_TIME: Duration = Duration::from_millis(500);
/// How long until it is asked again.
const PERIOD: Duration = Duration::from_millis(100);
/// How often it is told that there is nothing to tell.
const NEWS: Duration = Duration::from_secs(1);

/// Waits for the server on this port. Dapr's status is 0 where it has waited in vain, too; here it
/// is not.
pub(super) async fn run(port: u16, patience: Duration) -> Status {
    let url = format!("http://localhost:{port}/v1.0/healthz/outbound");
    let begin = Instant::now();
    output::message(&format!(
        "Waiting for Dapr to be outbound ready (timeout: {} seconds): url={url}\n",
        patience.as_secs()
    ));
    let mut told = None;
    loop {
        let Err(reason) = ask(&url).await else {
            output::message("Dapr is outbound ready!");
            return Status::Done;
        };
        if begin.elapsed() >= patience {
            let text = "timeout waiting for Dapr to become outbound ready. Last error";
            output::message(&format!("{text}: {reason}"));
            return Status::Fault;
        }
        if told.is_none_or(|told: Instant| told.elapsed() >= NEWS) {
            output::message(&format!("Dapr outbound NOT ready yet: {reason}"));
            told = Some(Instant::now());
        }
        tokio::time::sleep(PERIOD).await;
    }
}

/// Whether it is ready, or why not.
async fn ask(url: &str) -> Result<(), String> {
    let url = url.parse().map_err(|_| "no address".to_owned())?;
    let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    match tokio::time::timeout(REQUEST_TIME, client.get(url)).await {
        Ok(Ok(answer)) if answer.status() == StatusCode::NO_CONTENT => Ok(()),
        Ok(Ok(answer)) => Err(format!("HTTP status code {}", answer.status().as_u16())),
        Ok(Err(_)) => Err("nobody answers".to_owned()),
        Err(_) => Err("no answer in time".to_owned()),
    }
}
