//! A ConfigMap of a cluster.

use std::fs;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;

use super::{Backend, component};

/// A ConfigMap of a cluster, reached through a way that can be closed.
#[derive(Debug)]
pub struct ConfigMap {
    /// The cluster.
    pub cluster: &'static crate::kubernetes::Server,
    /// The namespace.
    pub namespace: String,
    folder: TempDir,
    way: Way,
}

impl ConfigMap {
    /// An empty ConfigMap in a namespace of its own.
    pub fn new(cluster: &'static crate::kubernetes::Server, what: &str) -> Self {
        let namespace = cluster.namespace(what);
        cluster.kubectl(&["create", "configmap", "settings", "--namespace", &namespace]);
        let folder = tempfile::tempdir().expect("a folder can be made");
        let (_, port) = cluster.address.rsplit_once(':').expect("it has a port");
        let way = Way::to(port.parse().expect("it is a number"));
        let kubeconfig = fs::read_to_string(&cluster.kubeconfig).expect("it can be read");
        let there = format!("https://127.0.0.1:{}", way.port);
        let kubeconfig = kubeconfig.replace(&cluster.address, &there);
        fs::write(folder.path().join("kubeconfig"), kubeconfig).expect("it can be written");
        Self {
            cluster,
            namespace,
            folder,
            way,
        }
    }

    /// Merges JSON into the ConfigMap.
    pub fn patch(&self, patch: &serde_json::Value) {
        let patch = patch.to_string();
        let what = [
            "patch",
            "configmap",
            "settings",
            "--namespace",
            &self.namespace,
        ];
        self.cluster
            .kubectl(&[&what[..], &["--type", "merge", "--patch", &patch]].concat());
    }
}

impl Backend for ConfigMap {
    fn component(&self) -> String {
        let kubeconfig = self.folder.path().join("kubeconfig");
        let metadata = [
            ("configMapName", "settings"),
            ("kubeconfigPath", kubeconfig.to_str().expect("it is text")),
        ];
        component("configuration.kubernetes", &metadata)
    }

    fn set(&mut self, key: &str, value: &str) {
        self.patch(&serde_json::json!({ "data": { key: value } }));
    }

    fn delete(&mut self, key: &str) {
        self.patch(&serde_json::json!({ "data": { key: null } }));
    }

    fn stop(&mut self) -> bool {
        self.way.close();
        true
    }

    fn start(&mut self) {
        self.way.open();
    }

    fn begins_with_all(&self) -> bool {
        true
    }

    fn deletion(&self, _last: &str) -> (String, bool) {
        (String::new(), true)
    }
}

/// A way to a port that can be closed, which breaks what goes through it.
#[derive(Debug)]
struct Way {
    port: u16,
    state: Arc<Mutex<(bool, Vec<TcpStream>)>>,
}

impl Way {
    fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let own = listener.local_addr().expect("it has an address").port();
        let state = Arc::new(Mutex::new((true, Vec::new())));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let mut state = shared.lock().expect("nobody panics");
                let Ok(far) = TcpStream::connect(("127.0.0.1", port)) else {
                    continue;
                };
                if !state.0 {
                    continue;
                }
                for (from, into) in [(&near, &far), (&far, &near)] {
                    let mut from = from.try_clone().expect("it can be shared");
                    let mut into = into.try_clone().expect("it can be shared");
                    std::thread::spawn(move || {
                        drop(std::io::copy(&mut from, &mut into));
                        drop(into.shutdown(Shutdown::Both));
                    });
                }
                state.1.extend([near, far]);
            }
        });
        Self { port: own, state }
    }

    fn open(&self) {
        self.state.lock().expect("nobody panics").0 = true;
    }

    fn close(&self) {
        let mut state = self.state.lock().expect("nobody panics");
        state.0 = false;
        for stream in state.1.drain(..) {
            drop(stream.shutdown(Shutdown::Both));
        }
    }
}
