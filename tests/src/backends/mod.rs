//! Backends of configuration stores: real servers of Debian's packages, each test with its own.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

mod config_map;
mod postgresql;
mod redis;

pub use self::config_map::ConfigMap;
pub use self::postgresql::Postgresql;
pub use self::redis::Redis;

/// How long a server may take to come up.
const PATIENCE: Duration = Duration::from_mins(1);
/// The password of each server, which must be seen nowhere.
pub const PASSWORD: &str = "s3cr3t-of-the-backend";

/// What holds items of configuration.
pub trait Backend {
    /// The component that reads it, named `cfg`.
    fn component(&self) -> String;

    /// Sets an item, also while the server is away.
    fn set(&mut self, key: &str, value: &str);

    /// Deletes an item, also while the server is away.
    fn delete(&mut self, key: &str);

    /// Takes the server away; whether it can be.
    fn stop(&mut self) -> bool;

    /// Lets it come back.
    fn start(&mut self);

    /// Whether a subscriber is told first what is there.
    fn begins_with_all(&self) -> bool {
        false
    }

    /// What is told of a deletion, given the last value: the value, and metadata of `deleted`.
    fn deletion(&self, _last: &str) -> (String, bool) {
        (String::new(), false)
    }
}

/// A component with these lines of metadata.
pub fn component(kind: &str, metadata: &[(&str, &str)]) -> String {
    let mut text = format!(
        "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {{name: cfg}}\nspec:\n  type: \
         {kind}\n  version: v1\n  metadata:\n"
    );
    for (name, value) in metadata {
        let value = serde_json::Value::from(*value);
        let _ = writeln!(text, "  - {{name: {name}, value: {value}}}");
    }
    text
}

/// The metadata that takes the password from a secret, and what stands behind all metadata.
pub fn secret_password(name: &str) -> String {
    format!(
        "  - {{name: {name}, secretKeyRef: {{name: backend, key: password}}}}\nauth: {{secretStore: vault}}\n"
    )
}

/// A port that nobody listens on.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("it has an address").port()
}

/// A file, as `configuration.local.file` reads it.
#[derive(Debug)]
pub struct File {
    folder: TempDir,
    items: BTreeMap<String, String>,
}

impl File {
    /// A file without items.
    pub fn new() -> Self {
        let file = Self {
            folder: tempfile::tempdir().expect("a folder can be made"),
            items: BTreeMap::new(),
        };
        file.write();
        file
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("items.json")
    }

    fn write(&self) {
        let text = serde_json::to_string(&self.items).expect("they are JSON");
        // As a whole: a file is empty while it is written.
        let new = self.folder.path().join("new");
        fs::write(&new, text).expect("a file can be written");
        fs::rename(new, self.path()).expect("a file can be renamed");
    }
}

impl Default for File {
    fn default() -> Self {
        Self::new()
    }
}

impl Backend for File {
    fn component(&self) -> String {
        let path = self.path();
        let path = path.to_str().expect("it is text");
        component("configuration.local.file", &[("configFile", path)])
    }

    fn set(&mut self, key: &str, value: &str) {
        self.items.insert(key.to_owned(), value.to_owned());
        self.write();
    }

    fn delete(&mut self, key: &str) {
        self.items.remove(key);
        self.write();
    }

    fn stop(&mut self) -> bool {
        false
    }

    fn start(&mut self) {}
}

/// A child that is killed when dropped.
#[derive(Debug)]
struct Process(Child);

impl Process {
    /// Starts a command, which ends with this process, however that ends.
    fn start(user: Option<&str>, log: &Path, command: &[&str]) -> Self {
        let log = fs::File::create(log).expect("a log can be made");
        let error = log.try_clone().expect("a log can be shared");
        let mut setpriv = Command::new("setpriv");
        setpriv.args(["--pdeathsig", "KILL"]);
        if let Some(user) = user {
            setpriv.args(["--reuid", user, "--regid", user, "--clear-groups"]);
        }
        let child = setpriv
            .args(command)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(error)
            .spawn();
        Self(child.expect("the server can be run; on Debian: redis-server, postgresql, util-linux"))
    }

    /// Asks it to end in order, and waits.
    fn end(mut self, signal: &str) {
        let id = self.0.id().to_string();
        let sent = Command::new("kill").args(["-s", signal, &id]).status();
        assert!(sent.expect("kill can be run").success());
        self.0.wait().expect("it can be waited for");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Whether a server can be had here. Without it a test is skipped, but for where servers are required.
///
/// # Panics
/// Panics where it cannot be had and `KEYREF_REQUIRE_SERVERS` is 1.
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn is_there(program: &str) -> bool {
    let is_there = Command::new(program).arg("--version").output().is_ok();
    assert!(
        is_there || !crate::kubernetes::required(),
        "`{program}` cannot be run"
    );
    if !is_there {
        eprintln!("skipped: `{program}` cannot be run here; on Debian: redis-server, postgresql");
    }
    is_there
}

/// Waits until something is so.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < PATIENCE, "{what} does not come");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A certificate for 127.0.0.1 and its key, made in a folder.
pub fn certificate(folder: &Path) -> (PathBuf, PathBuf) {
    let (certificate, key) = (folder.join("server.crt"), folder.join("server.key"));
    let made = Command::new("openssl")
        .args([
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test",
        ])
        .args(["-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-out")
        .arg(&certificate)
        .arg("-keyout")
        .arg(&key)
        .output();
    assert!(made.expect("openssl can be run").status.success());
    (certificate, key)
}
