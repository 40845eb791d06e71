//! A Redis server.

use std::net::TcpStream;
use std::process::Command;

use tempfile::TempDir;

use super::{
    Backend, PASSWORD, Process, component, free_port, is_there, secret_password, wait_until,
};

/// A Redis server, with its data on disk.
#[derive(Debug)]
pub struct Redis {
    folder: TempDir,
    /// Where it is served while it is not away.
    pub port: u16,
    arguments: Vec<String>,
    process: Option<Process>,
}

impl Redis {
    /// A server with more arguments than those that it needs; nothing where it cannot be had here.
    pub fn new(arguments: &[&str]) -> Option<Self> {
        Self::on(free_port(), arguments)
    }

    /// The same on a port.
    pub fn on(port: u16, arguments: &[&str]) -> Option<Self> {
        if !is_there("redis-server") {
            return None;
        }
        let mut redis = Self {
            folder: tempfile::tempdir().expect("a folder can be made"),
            port,
            arguments: arguments.iter().map(|text| (*text).to_owned()).collect(),
            process: None,
        };
        redis.start();
        Some(redis)
    }

    fn run(&self, port: u16) -> Process {
        let port_text = port.to_string();
        let path = self.folder.path().to_str().expect("it is text");
        let mut command = vec![
            "redis-server",
            "--bind",
            "127.0.0.1",
            "--requirepass",
            PASSWORD,
            "--dir",
            path,
            "--appendonly",
            "yes",
            "--appendfsync",
            "always",
            "--save",
            "",
        ];
        let is_plain = !self
            .arguments
            .iter()
            .any(|argument| argument == "--tls-port");
        command.extend(["--port", if is_plain { &port_text } else { "0" }]);
        command.extend(self.arguments.iter().map(String::as_str));
        let process = Process::start(None, &self.folder.path().join("log"), &command);
        if is_plain {
            wait_until("redis-server", || {
                Self::try_ask(port, &["PING"]).as_deref() == Some("PONG")
            });
        } else {
            wait_until("redis-server", || {
                TcpStream::connect(("127.0.0.1", port)).is_ok()
            });
        }
        process
    }

    fn try_ask(port: u16, command: &[&str]) -> Option<String> {
        let output = Command::new("redis-cli")
            .args(["-h", "127.0.0.1", "-p", &port.to_string(), "--raw"])
            .args(command)
            .env("REDISCLI_AUTH", PASSWORD)
            .output()
            .expect("redis-cli can be run");
        let text = String::from_utf8(output.stdout).expect("it writes text");
        output.status.success().then(|| text.trim_end().to_owned())
    }

    /// Runs a command; where the server is away, on another port.
    pub fn ask(&self, command: &[&str]) -> String {
        if self.process.is_some() {
            return Self::try_ask(self.port, command).expect("it answers");
        }
        let port = free_port();
        let process = self.run(port);
        let answer = Self::try_ask(port, command).expect("it answers");
        process.end("TERM");
        answer
    }
}

impl Backend for Redis {
    fn component(&self) -> String {
        let host = format!("127.0.0.1:{}", self.port);
        component("configuration.redis", &[("redisHost", &host)])
            + &secret_password("redisPassword")
    }

    fn set(&mut self, key: &str, value: &str) {
        self.ask(&["SET", key, &format!("{value}||v-{value}")]);
    }

    fn delete(&mut self, key: &str) {
        self.ask(&["DEL", key]);
    }

    fn stop(&mut self) -> bool {
        self.process.take().expect("it runs").end("TERM");
        true
    }

    fn start(&mut self) {
        self.process = Some(self.run(self.port));
    }
}
