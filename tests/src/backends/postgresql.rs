//! A PostgreSQL server.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use super::{
    Backend, PASSWORD, Process, component, free_port, is_there, secret_password, wait_until,
};

/// A PostgreSQL server with the table `items`, whose trigger tells the channel `told`, as in Dapr's
/// own documentation.
#[derive(Debug)]
pub struct Postgresql {
    folder: TempDir,
    /// Where it is served while it is not away.
    pub port: u16,
    process: Option<Process>,
    /// What components that read it are called.
    kind: &'static str,
}

/// What prepares the database.
const SCHEMA: &str = r"
CREATE TABLE items (key VARCHAR NOT NULL, value VARCHAR NOT NULL, version VARCHAR NOT NULL, metadata JSON);
CREATE FUNCTION tell() RETURNS TRIGGER AS $$
DECLARE data json;
BEGIN
  IF (TG_OP = 'DELETE') THEN data = row_to_json(OLD); ELSE data = row_to_json(NEW); END IF;
  PERFORM pg_notify('told', json_build_object('table', TG_TABLE_NAME, 'action', TG_OP, 'data', data)::text);
  RETURN NULL;
END;
$$ LANGUAGE plpgsql;
CREATE TRIGGER told AFTER INSERT OR UPDATE OR DELETE ON items FOR EACH ROW EXECUTE PROCEDURE tell();
";

impl Postgresql {
    /// A server with an empty table; nothing where it cannot be had here.
    pub fn new() -> Option<Self> {
        if !is_there(&program("postgres")) {
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder can be made");
        let (data, word) = (folder.path().join("data"), folder.path().join("word"));
        fs::create_dir(&data).expect("a folder can be made");
        fs::write(&word, PASSWORD).expect("a file can be written");
        if let Some(user) = user() {
            let owner = format!("{user}:{user}");
            let chown = Command::new("chown")
                .arg("-R")
                .arg(owner)
                .arg(folder.path())
                .status();
            assert!(chown.expect("chown can be run").success());
        }
        let (data, word) = (data.to_str().expect("text"), word.to_str().expect("text"));
        let initdb = [
            &program("initdb"),
            "--pgdata",
            data,
            "--username",
            "keyref",
            "--pwfile",
            word,
            "--auth",
            "scram-sha-256",
            "--encoding",
            "UTF8",
            "--no-sync",
            "--no-instructions",
        ];
        let mut initdb = Process::start(user(), &folder.path().join("initdb.log"), &initdb);
        assert!(initdb.0.wait().expect("it ends").success(), "initdb failed");
        let mut postgresql = Self {
            folder,
            port: free_port(),
            process: None,
            kind: "configuration.postgresql",
        };
        postgresql.start();
        postgresql.ask(SCHEMA);
        Some(postgresql)
    }

    /// The same for components of another type.
    #[must_use]
    pub fn called(mut self, kind: &'static str) -> Self {
        self.kind = kind;
        self
    }

    /// A file of the server.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join("data").join(name)
    }

    fn run(&self, port: u16) -> Process {
        let (data, port_text) = (self.file(""), port.to_string());
        let process = Process::start(
            user(),
            &self.folder.path().join("log"),
            &[
                &program("postgres"),
                "-D",
                data.to_str().expect("text"),
                "-p",
                &port_text,
                "-c",
                "listen_addresses=127.0.0.1",
                "-c",
                "unix_socket_directories=",
                "-c",
                "fsync=off",
                "-c",
                "max_connections=20",
                "-c",
                "shared_buffers=16MB",
            ],
        );
        wait_until("postgres", || Self::try_ask(port, "SELECT 1").is_some());
        process
    }

    fn try_ask(port: u16, sql: &str) -> Option<String> {
        let output = Command::new(program("psql"))
            .args([
                "-h",
                "127.0.0.1",
                "-p",
                &port.to_string(),
                "-U",
                "keyref",
                "-d",
                "postgres",
            ])
            .args(["-qAtX", "-v", "ON_ERROR_STOP=1", "-c", sql])
            .env("PGPASSWORD", PASSWORD)
            .output()
            .expect("psql can be run");
        let text = String::from_utf8(output.stdout).expect("it writes text");
        output.status.success().then(|| text.trim_end().to_owned())
    }

    /// Runs SQL; where the server is away, on another port.
    pub fn ask(&self, sql: &str) -> String {
        if self.process.is_some() {
            return Self::try_ask(self.port, sql).expect("it answers");
        }
        let port = free_port();
        let process = self.run(port);
        let answer = Self::try_ask(port, sql).expect("it answers");
        process.end("INT");
        answer
    }
}

impl Backend for Postgresql {
    fn component(&self) -> String {
        let string = format!(
            "host=127.0.0.1 port={} user=keyref dbname=postgres",
            self.port
        );
        let metadata = [
            ("connectionString", string.as_str()),
            ("table", "items"),
            ("notifyChannel", "told"),
        ];
        component(self.kind, &metadata) + &secret_password("password")
    }

    fn set(&mut self, key: &str, value: &str) {
        let metadata = r#"{"from": "psql"}"#;
        self.ask(&format!(
            "WITH updated AS (UPDATE items SET value = '{value}', version = 'v-{value}' WHERE key = '{key}' RETURNING 1) \
             INSERT INTO items SELECT '{key}', '{value}', 'v-{value}', '{metadata}' WHERE NOT EXISTS (SELECT FROM updated)"
        ));
    }

    fn delete(&mut self, key: &str) {
        self.ask(&format!("DELETE FROM items WHERE key = '{key}'"));
    }

    fn stop(&mut self) -> bool {
        self.process.take().expect("it runs").end("INT");
        true
    }

    fn start(&mut self) {
        self.process = Some(self.run(self.port));
    }

    fn deletion(&self, last: &str) -> (String, bool) {
        (last.to_owned(), false)
    }
}

/// PostgreSQL does not run as root.
fn user() -> Option<&'static str> {
    let id = Command::new("id")
        .arg("-u")
        .output()
        .expect("id can be run");
    (id.stdout == b"0\n").then_some("postgres")
}

fn program(name: &str) -> String {
    // Debian keeps them out of PATH, in a folder for each release.
    let releases = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let mut programs: Vec<_> = releases
        .filter_map(|release| Some(release.ok()?.path().join("bin").join(name)))
        .filter(|path| path.exists())
        .collect();
    programs.sort();
    let program = programs.pop().unwrap_or_else(|| PathBuf::from(name));
    program.to_str().expect("it is text").to_owned()
}
