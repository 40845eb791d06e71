//! Dapr's own Rust SDK, unmodified, against a running server: a line for each call and its outcome.
//!
//! Takes the address and the token from the variables that the SDK itself reads. Every expectation is
//! what the SDK gives against `daprd`.

use std::collections::HashMap;
use std::fmt::Debug;
use std::net::TcpListener;
use std::process::ExitCode;

use dapr::Client;
use dapr::client::{ClientOptions, TonicClientWithAuth};
use dapr::dapr::proto::common::v1::ConfigurationItem;
use dapr::error::Error;

type Outcome = Result<(), Box<dyn std::error::Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut table = Table { failed: false };
    for outcome in [
        secrets(&mut table).await,
        configuration(&mut table).await,
        without_token(&mut table).await,
    ] {
        if let Err(error) = outcome {
            table.show("calls", error.to_string(), "no error");
        }
    }
    ExitCode::from(u8::from(table.failed))
}

async fn secrets(table: &mut Table) -> Outcome {
    let nobody = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let early = ClientOptions::from_env()?.with_address(format!("http://{nobody}"));
    let refused = matches!(
        Client::from_options(early).await,
        Err(Error::TransportError)
    );
    let why = "it has none: connecting fails at once where nobody listens";
    table.show_why("start-up wait", refused, true, why);

    let mut client = Client::new().await?;
    let secret = client.get_secret("file", "redis").await?.data;
    table.show("get", secret, map([("redis", "one")]));
    let secret = client.get_secret("file", "a/b").await?.data;
    table.show("key with a slash", secret, map([("a/b", "two")]));
    let bulk = client.get_bulk_secret("file", None).await?.data;
    let bulk: HashMap<_, _> = bulk
        .into_iter()
        .map(|(name, secret)| (name, secret.secrets))
        .collect();
    let all = [
        ("redis".to_owned(), map([("redis", "one")])),
        ("a/b".to_owned(), map([("a/b", "two")])),
    ];
    table.show("bulk", bulk, HashMap::from(all));
    for (call, store, key, code) in [
        ("denied", "file", "denied", "PermissionDenied"),
        ("absent", "file", "nope", "Internal"),
        ("unknown store", "none", "x", "InvalidArgument"),
    ] {
        let outcome = refusal(client.get_secret(store, key).await);
        table.show(call, outcome, code);
    }
    let metadata = client.get_metadata().await?;
    let components = metadata.registered_components;
    let mut names = vec![metadata.id];
    names.extend(components.into_iter().map(|component| component.name));
    table.show("metadata", names, ["myapp", "file", "cfg"]);
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a setting of the test itself")]
async fn configuration(table: &mut Table) -> Outcome {
    let mut client = Client::new().await?;
    let got = client.get_configuration("cfg", keys(), None).await?;
    let expected = map([("orderId", "100")]);
    table.show("configuration get", values(got.items), expected);
    let outcome = refused_subscription(&mut client, "none").await;
    table.show("configuration, unknown store", outcome, "InvalidArgument");

    let mut stream = client.subscribe_configuration("cfg", keys(), None).await?;
    // The first message has the id alone.
    let id = stream.message().await?.unwrap_or_default().id;
    std::fs::write(std::env::var("ITEMS")?, "orderId: '101'\n")?;
    let change = stream.message().await?.unwrap_or_default();
    let outcome = (change.id, values(change.items));
    let expected = (id.clone(), map([("orderId", "101")]));
    table.show("configuration subscribe", outcome, expected);
    let ended = client.unsubscribe_configuration("cfg", id.as_str()).await?;
    let last = stream.message().await?.map(|message| message.id);
    table.show("configuration unsubscribe", (ended.ok, last), (true, None));
    Ok(())
}

async fn without_token(table: &mut Table) -> Outcome {
    let options = ClientOptions::from_env()?.without_api_token();
    let mut client = Client::from_options(options).await?;
    let outcome = refusal(client.get_secret("file", "redis").await);
    table.show("no token", outcome, "Unauthenticated");
    let outcome = refused_subscription(&mut client, "cfg").await;
    table.show(
        "configuration subscribe, no token",
        outcome,
        "Unauthenticated",
    );
    Ok(())
}

/// The code of a refused subscription, be it told at once or in place of the first message.
async fn refused_subscription(client: &mut Client<TonicClientWithAuth>, store: &str) -> String {
    let subscribed = client.subscribe_configuration(store, keys(), None).await;
    match subscribed {
        Ok(mut stream) => refusal(stream.message().await.map_err(Error::from)),
        Err(error) => refusal::<()>(Err(error)),
    }
}

/// The code of a refused call. The SDK keeps the status to itself, but prints it.
fn refusal<T>(outcome: Result<T, Error>) -> String {
    let Err(error) = outcome else {
        return "answered".to_owned();
    };
    let text = error.to_string();
    let code = text
        .split_once("code: ")
        .map_or(text.as_str(), |(_, code)| code);
    code.split([',', ' ']).next().unwrap_or_default().to_owned()
}

fn keys() -> Vec<&'static str> {
    vec!["orderId"]
}

fn values(items: HashMap<String, ConfigurationItem>) -> HashMap<String, String> {
    items
        .into_iter()
        .map(|(key, item)| (key, item.value))
        .collect()
}

fn map<const N: usize>(entries: [(&str, &str); N]) -> HashMap<String, String> {
    entries
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

/// What came of each call.
struct Table {
    failed: bool,
}

impl Table {
    fn show<T, U>(&mut self, call: &str, outcome: T, expected: U)
    where
        T: Debug + PartialEq<U>,
        U: Debug,
    {
        self.show_why(call, outcome, expected, "");
    }

    /// With the reason where the outcome is all that the SDK can do.
    fn show_why<T, U>(&mut self, call: &str, outcome: T, expected: U, why: &str)
    where
        T: Debug + PartialEq<U>,
        U: Debug,
    {
        let shown = if outcome != expected {
            self.failed = true;
            format!("{outcome:?} in place of {expected:?}")
        } else if why.is_empty() {
            "ok".to_owned()
        } else {
            format!("ok, {why}")
        };
        println!("| rust | {call} | {shown} |");
    }
}
