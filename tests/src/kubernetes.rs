//! A real API server for tests, started once for each test binary by `tests/servers/`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::{Mutex, OnceLock};

use crate::workspace;

/// A running server.
#[derive(Debug)]
pub struct Server {
    /// The kubeconfig of an administrator.
    pub kubeconfig: PathBuf,
    /// Its address, `https://HOST:PORT`.
    pub address: String,
    /// The file of its certificate authority, or empty.
    pub authority: PathBuf,
    kubectl: PathBuf,
    /// Ends the server when this process ends: its script watches this child's standard input.
    script: Mutex<(Child, BufReader<ChildStdout>)>,
}

/// The server; nothing where it cannot be had here.
///
/// # Panics
/// Panics where it cannot be had and `KEYREF_REQUIRE_SERVERS` is 1, or where it does not start.
#[expect(
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a server that does not start is a failed test"
)]
pub fn server() -> Option<&'static Server> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    SERVER
        .get_or_init(|| {
            let servers = workspace().join("tests/servers");
            let folder = tempfile::tempdir().expect("a folder can be made").keep();
            let mut script = Command::new(servers.join("start-kubernetes.sh"))
                .arg(&folder)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("the script can be run");
            let mut line = String::new();
            let out = script.stdout.take().expect("its output is piped");
            let mut out = BufReader::new(out);
            out.read_line(&mut line).expect("its output can be read");
            if line.is_empty() {
                let status = script.wait().expect("the script ends");
                assert!(
                    status.code() == Some(3) && !required(),
                    "the API server cannot be started: {status}"
                );
                eprintln!("skipped: the API server cannot be had here (see above)");
                return None;
            }
            let started: serde_json::Value = serde_json::from_str(&line).expect("a line of JSON");
            let text = |field: &str| started[field].as_str().unwrap_or_default();
            let path = |field: &str| PathBuf::from(text(field));
            Some(Server {
                kubeconfig: path("kubeconfig"),
                address: text("server").to_owned(),
                authority: path("ca"),
                kubectl: path("kubectl"),
                script: Mutex::new((script, out)),
            })
        })
        .as_ref()
}

/// Whether a server that cannot be had is a failure.
#[expect(clippy::disallowed_methods, reason = "a setting of the tests")]
pub(crate) fn required() -> bool {
    std::env::var("KEYREF_REQUIRE_SERVERS").is_ok_and(|value| value == "1")
}

impl Server {
    /// Runs `kubectl` as the administrator and gives its output.
    ///
    /// # Panics
    /// Panics where it fails.
    #[expect(
        clippy::expect_used,
        reason = "a server that cannot be prepared is a failed test"
    )]
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        let output: Output = Command::new(&self.kubectl)
            .args(arguments)
            .env("KUBECONFIG", &self.kubeconfig)
            .env("KUBECTL_KUBERC", "false")
            .output()
            .expect("kubectl can be run");
        assert!(output.status.success(), "kubectl {arguments:?}: {output:?}");
        String::from_utf8(output.stdout).expect("kubectl writes text")
    }

    /// Kills the server and waits until it is there again, with all that it had; also one that was
    /// stopped.
    ///
    /// # Panics
    /// Panics where it does not come back.
    pub fn restart(&self) {
        self.tell("restart");
    }

    /// Kills the server until it is restarted; whether it can be, as a cluster that is kept cannot.
    ///
    /// # Panics
    /// Panics where its script has ended.
    pub fn stop(&self) -> bool {
        let told = self.tell("stop");
        told["pids"].as_array().is_some_and(|pids| pids.len() == 1)
    }

    /// Tells the script something, and waits for what it says when it is done.
    #[expect(
        clippy::expect_used,
        reason = "a server that does not come back is a failed test"
    )]
    fn tell(&self, what: &str) -> serde_json::Value {
        let mut script = self.script.lock().expect("nobody panics");
        let (script, out) = &mut *script;
        let input = script.stdin.as_mut().expect("its input is piped");
        let line = format!("{what}\n");
        input.write_all(line.as_bytes()).expect("it can be told");
        let mut line = String::new();
        out.read_line(&mut line).expect("its output can be read");
        assert!(!line.is_empty(), "the API server does not come back");
        serde_json::from_str(&line).expect("a line of JSON")
    }

    /// Makes a namespace of this run's own, since the cluster may be one that is kept, and gives its
    /// name.
    pub fn namespace(&self, what: &str) -> String {
        let name = format!("keyref-{what}-{}", std::process::id());
        self.kubectl(&["create", "namespace", &name]);
        name
    }

    /// Makes a secret of literals such as `k=v`.
    pub fn secret(&self, namespace: &str, name: &str, literals: &[&str]) {
        let literals: Vec<_> = literals
            .iter()
            .map(|literal| format!("--from-literal={literal}"))
            .collect();
        let create = [
            "create",
            "secret",
            "generic",
            name,
            "--namespace",
            namespace,
        ];
        let literals = literals.iter().map(String::as_str);
        self.kubectl(&create.into_iter().chain(literals).collect::<Vec<_>>());
    }

    /// A token of a service account, as its pods have one.
    pub fn token(&self, namespace: &str, account: &str) -> String {
        let arguments = ["create", "token", account, "--namespace", namespace];
        self.kubectl(&arguments).trim().to_owned()
    }

    /// A kubeconfig of a service account.
    ///
    /// # Panics
    /// Panics where it cannot be made.
    #[expect(
        clippy::expect_used,
        reason = "a server that cannot be prepared is a failed test"
    )]
    pub fn service_account(&self, namespace: &str, account: &str) -> PathBuf {
        self.kubectl(&[
            "create",
            "serviceaccount",
            account,
            "--namespace",
            namespace,
        ]);
        let out = self
            .kubeconfig
            .with_file_name(format!("{namespace}-{account}"));
        let status = Command::new(workspace().join("tests/servers/service-account-kubeconfig.sh"))
            .args([&self.kubeconfig, &self.kubectl])
            .args([namespace, account])
            .arg(&out)
            .status()
            .expect("the script can be run");
        assert!(status.success(), "no kubeconfig for {account}");
        out
    }

    /// How many reads of single secrets the server has counted.
    pub fn secret_reads(&self) -> f64 {
        self.kubectl(&["get", "--raw", "/metrics"])
            .lines()
            .filter(|line| {
                line.starts_with("apiserver_request_total")
                    && line.contains("resource=\"secrets\"")
                    && line.contains("scope=\"resource\"")
                    && line.contains("verb=\"GET\"")
            })
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }
}
