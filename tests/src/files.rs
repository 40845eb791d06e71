//! Files that a server is started with, and what comes of a change to one.

use std::collections::BTreeMap;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::server::Server;

/// What anything may take before a test has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// How long nothing may happen before nothing happens.
pub const SILENCE: Duration = Duration::from_millis(900);
/// What is said of a store that is not there.
pub const UNKNOWN: &str = "ERR_SECRET_STORE_NOT_FOUND";
/// What is said of a secret that policy denies.
pub const DENIED: &str = "ERR_PERMISSION_DENIED";

/// A store of the secrets in a file.
pub fn store(name: &str, file: &str) -> String {
    component(
        name,
        "secretstores.local.file",
        &format!("[{{name: secretsFile, value: {file}}}]"),
    )
}

/// A component with these metadata items.
pub fn component(name: &str, kind: &str, items: &str) -> String {
    format!(
        "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {{name: {name}}}\n\
         spec: {{type: {kind}, version: v1, metadata: {items}}}\n"
    )
}

/// A configuration that denies all of a store.
pub fn denial(store: &str) -> String {
    format!(
        "kind: Configuration\n\
         spec: {{secrets: {{scopes: [{{storeName: {store}, defaultAccess: deny}}]}}}}\n"
    )
}

/// Writes a file in place.
pub fn write(work: &TempDir, path: &str, text: &str) {
    fs::write(work.path().join(path), text).expect("it can be written");
}

/// The value of the one secret, or the code of the failure.
pub fn read(server: &Server, store: &str) -> String {
    let body = server.ask(&format!("GET /v1.0/secrets/{store}/key")).body;
    let answer: BTreeMap<String, String> =
        serde_json::from_str(&body).expect("it is an object of texts");
    let code = answer.get("errorCode").or(answer.get("key"));
    code.expect("it is answered").clone()
}

/// Reads until this is found; how long that took.
pub fn until(server: &Server, store: &str, expected: &str) -> Duration {
    let begin = Instant::now();
    loop {
        let found = read(server, store);
        if found == expected {
            return begin.elapsed();
        }
        let is_late = begin.elapsed() > PATIENCE;
        assert!(
            !is_late,
            "{store}: {found}, not {expected}\n{}",
            server.log()
        );
        thread::sleep(Duration::from_millis(20));
    }
}
