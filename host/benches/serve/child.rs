//! Servers as processes of their own.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

/// A server, killed when dropped.
pub(crate) struct Child {
    child: std::process::Child,
    pub(crate) http: SocketAddr,
    pub(crate) grpc: SocketAddr,
}

impl Child {
    /// Runs the program until it is ready.
    pub(crate) fn keyref(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_keyref"))
            .args(arguments)
            .envs(variables.iter().copied())
            .current_dir(folder)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (mut http, mut grpc) = (None, None);
        for line in lines.by_ref() {
            let line = line.unwrap();
            let address = |protocol: &str| {
                let begin = format!("{protocol} server listening on TCP address: ");
                let (_, rest) = line.split_once(&begin)?;
                rest.trim_end_matches('"')
                    .split(['"', ' '])
                    .next()?
                    .parse()
                    .ok()
            };
            http = http.or(address("msg=\"HTTP"));
            grpc = grpc.or(address("msg=\"gRPC"));
            if line.contains("dapr initialized") {
                break;
            }
        }
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            child,
            http: http.unwrap(),
            grpc: grpc.unwrap(),
        }
    }

    /// Runs a bare handler.
    pub(crate) fn bare(protocol: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["bare", protocol])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        let address = line.trim().parse().unwrap();
        Self {
            child,
            http: address,
            grpc: address,
        }
    }

    /// The most that it has had, in MB.
    pub(crate) fn most_resident(&self) -> f64 {
        self.status("VmHWM:")
    }

    fn status(&self, name: &str) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap();
        let kibibytes: f64 = line.split_whitespace().next().unwrap().parse().unwrap();
        kibibytes * 1024.0 / 1e6
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
