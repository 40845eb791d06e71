//! What the tests of the whole program share: the built command, and folders for it to work in.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot be prepared has failed"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

pub mod app;
pub mod backends;
pub mod browser;
pub mod collector;
pub mod components;
pub mod configuration;
pub mod dapr;
pub mod encoding;
pub mod faulty;
pub mod files;
pub mod gateway;
pub mod hostile_guest;
pub mod kubernetes;
pub mod library;
pub mod metrics;
pub mod mutate;
pub mod recorded;
pub mod server;
pub mod stores;
pub mod tls;

/// The root of the workspace.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests stand in the workspace")
}

/// The command with its default features, built once for each test binary that asks.
pub fn keyref() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(build)
}

#[expect(
    clippy::disallowed_methods,
    reason = "what cargo says of the test is not for the build"
)]
fn build() -> PathBuf {
    let mut cargo = Command::new(env!("CARGO"));
    // Build scripts that look at these would run again, here and in the next build outside.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(name);
        }
    }
    let status = cargo
        .args(["build", "--package", "keyref", "--bin", "keyref"])
        .args(["--package", "keyref-unify"])
        .args(["--quiet", "--locked"])
        .current_dir(workspace())
        .status()
        .expect("cargo can be run");
    assert!(status.success(), "the command cannot be built");
    let target = std::env::current_exe().expect("a test has a path");
    let target = target
        .ancestors()
        .find(|folder| folder.join("debug").is_dir())
        .expect("a test stands in the target folder");
    target.join("debug/keyref")
}

/// A run of the command, with an environment of its own.
#[derive(Debug)]
pub struct Run(Command);

impl Run {
    /// The command in a folder, with no variable but `PATH`.
    pub fn new(folder: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new(keyref());
        command.args(arguments).current_dir(folder).env_clear();
        Self(command)
    }

    /// Sets a variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.0.env(name, value);
        self
    }

    /// Runs it to its end.
    pub fn output(mut self) -> Output {
        self.0.output().expect("the command can be run")
    }
}

/// The command on the tutorial, with a file in place of its cluster.
pub fn tutorial(arguments: &[&str]) -> Output {
    let store = "kubernetes-secrets=local.file:examples/secrets.yaml";
    Run::new(workspace(), &[arguments, &["--store", store]].concat()).output()
}

/// What a command wrote to standard output.
pub fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).expect("it writes text")
}

/// What a command wrote to standard error.
pub fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).expect("it writes text")
}

/// Writes files into a new folder.
pub fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder can be made");
    for (path, content) in files {
        let path = folder.path().join(path);
        let parent = path.parent().expect("a file is in a folder");
        std::fs::create_dir_all(parent).expect("a folder can be made");
        std::fs::write(path, content).expect("a file can be written");
    }
    folder
}

/// The output of a command as JSON.
pub fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("not JSON ({error}): {output:?}"))
}

/// A line of what Linux says of this process, in KiB: `VmRSS:` for instance.
pub fn status(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("this is Linux");
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let text = line.expect("the field is there").trim();
    let number = text.trim_end_matches(" kB").parse();
    number.expect("it is a number of KiB")
}
