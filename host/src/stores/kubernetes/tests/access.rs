//! Which API server is asked, with which credentials, and what a document may have of it.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{env, fs, thread};

use serde_json::{Value, json};

use super::super::Kubernetes;
use super::super::access::{Access, access};
use super::CANARY;
use crate::context::Context;
use crate::env::Environment;
use crate::error::Class;
use crate::stores::{Grants, SecretRequest, SecretStore as _, StoreConfig, StoreError};

/// A folder that is gone after the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let folder = env::temp_dir().join(format!("keyref-{}", uuid::Uuid::new_v4()));
        fs::create_dir(&folder).unwrap();
        Self(folder)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// A kubeconfig of one context.
    fn kubeconfig(&self, cluster: &Value, user: &Value) -> String {
        let kubeconfig = json!({
            "current-context": "now",
            "contexts": [{"name": "now", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": user}],
        });
        self.write("kubeconfig", kubeconfig.to_string())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn settings() -> StoreConfig {
    StoreConfig::new("k8s", "secretstores.kubernetes").with_property("defaultNamespace", "prod")
}

/// The same in a document that was granted this.
fn granted(mut settings: StoreConfig, grants: Grants) -> StoreConfig {
    settings.grants = Some(Arc::new(grants));
    settings
}

fn refused(settings: &StoreConfig) -> String {
    let error = failure(access(settings));
    assert_eq!(error.class, Class::StoreMisconfigured);
    assert!(!format!("{error:?}").contains(CANARY), "{error:?}");
    error.message
}

fn failure(access: Result<Access, StoreError>) -> StoreError {
    access.err().expect("a refusal")
}

#[test]
fn a_document_reads_only_kubeconfigs_that_it_was_granted() {
    let (inside, outside) = (Folder::new(), Folder::new());
    let server = json!({"server": "https://cluster.example:6443"});
    let path = outside.kubeconfig(&server, &json!({"token": "t"}));
    let grants = || Grants::none().host("cluster.example").folder(&inside.0);
    let of = |path: &str| granted(settings().with_property("kubeconfigPath", path), grants());
    let denied = "the path is not in a folder that documents may read";
    assert_eq!(refused(&of(&path)), denied);
    assert_eq!(refused(&of("/nowhere")), denied);
    assert!(refused(&of(inside.0.to_str().unwrap())).contains("not a file"));

    let path = inside.kubeconfig(&server, &json!({"token": "t"}));
    assert!(access(&of(&path)).is_ok());
    // Nor does a link lead out.
    #[cfg(unix)]
    {
        let link = inside.0.join("link");
        let target = outside.0.join("kubeconfig");
        std::os::unix::fs::symlink(target, &link).unwrap();
        assert_eq!(refused(&of(link.to_str().unwrap())), denied);
    }
}

#[test]
fn a_document_takes_only_a_namespace_that_it_was_granted() {
    let open = |grants: Grants, own: Option<&str>| {
        let mut settings = granted(settings(), grants);
        settings.namespace = own.map(str::to_owned);
        Kubernetes::from_config(&settings).map(drop)
    };
    let class = |opened: Result<(), StoreError>| opened.map_err(|error| error.class);
    assert_eq!(class(open(Grants::none(), None)), Err(Class::PolicyDenied));
    let other = Grants::none().namespace("other");
    assert_eq!(class(open(other, Some("own"))), Err(Class::PolicyDenied));
    assert_eq!(class(open(Grants::none(), Some("prod"))), Ok(()));
    assert_eq!(class(open(Grants::none().namespace("prod"), None)), Ok(()));
    assert_eq!(class(open(Grants::all(), None)), Ok(()));
    assert!(Kubernetes::from_config(&settings()).is_ok());
}

#[test]
fn a_document_reaches_only_hosts_that_it_was_granted() {
    let folder = Folder::new();
    let host = "the kubeconfig leads to a host that documents may not reach";
    let grants = || {
        Grants::none()
            .host("cluster.example")
            .host("::1")
            .folder(&folder.0)
    };
    let of = |cluster: Value| {
        let path = folder.kubeconfig(&cluster, &json!({"token": "t"}));
        granted(settings().with_property("kubeconfigPath", path), grants())
    };
    assert!(access(&of(json!({"server": "https://Cluster.Example:6443"}))).is_ok());
    assert!(access(&of(json!({"server": "https://[::1]:6443"}))).is_ok());
    assert_eq!(
        refused(&of(json!({"server": "https://other.example"}))),
        host
    );
    let proxy = json!({"server": "https://cluster.example", "proxy-url": "http://other.example"});
    assert_eq!(refused(&of(proxy)), host);
}

#[test]
fn a_document_has_no_program_run_and_no_check_turned_off() {
    let (folder, outside) = (Folder::new(), Folder::new());
    let server = json!({"server": "https://cluster.example"});
    let grants = || Grants::none().host("cluster.example").folder(&folder.0);
    let of = |cluster: &Value, user: Value| {
        let path = folder.kubeconfig(cluster, &user);
        granted(settings().with_property("kubeconfigPath", path), grants())
    };
    let exec = json!({"exec": {"apiVersion": "v1", "command": "true"}});
    assert!(refused(&of(&server, exec.clone())).contains("`exec`"));
    let unchecked = json!({"server": "https://cluster.example", "insecure-skip-tls-verify": true});
    assert!(refused(&of(&unchecked, json!({}))).contains("`insecure-skip-tls-verify`"));
    let provider = json!({"auth-provider": {"name": "gcp", "config": {"cmd-path": "true"}}});
    assert!(refused(&of(&server, provider)).contains("`auth-provider`"));
    let file = outside.write("token", CANARY);
    for setting in ["tokenFile", "client-certificate", "client-key"] {
        let message = refused(&of(&server, json!({ setting: file })));
        assert!(message.contains("not in a folder"), "{setting}: {message}");
    }
    let authority = json!({"server": "https://cluster.example", "certificate-authority": file});
    assert!(refused(&of(&authority, json!({}))).contains("not in a folder"));
    folder.write("token", "t");
    assert!(access(&of(&server, json!({"tokenFile": "token"}))).is_ok());

    // The operator's own kubeconfig may have a plugin, whichever document uses the store.
    let path = folder.kubeconfig(&server, &exec);
    let own = settings().with_environment(Environment::of([("KUBECONFIG", path.as_str())]));
    assert!(access(&own).unwrap().credentials.plugin.is_some());
    let used = granted(own.clone(), Grants::none());
    assert!(access(&used).unwrap().credentials.plugin.is_some());
    // But it does not choose among the operator's clusters.
    assert!(access(&own.with_property("context", "now")).is_ok());
    assert!(refused(&used.with_property("context", "now")).contains("may not reach"));
}

#[test]
fn kubeconfigs_of_the_environment_are_merged_and_absent_ones_left_out() {
    let (first, second) = (Folder::new(), Folder::new());
    let one = first.write(
        "one",
        json!({
            "current-context": "now",
            "contexts": [{"name": "now", "context": {"cluster": "c", "user": "u"}}],
        })
        .to_string(),
    );
    let two = second.write(
        "two",
        json!({
            "current-context": "later",
            "clusters": [{"name": "c", "cluster": {"server": "https://cluster.example"}}],
            "users": [{"name": "u", "user": {"tokenFile": "token"}}],
        })
        .to_string(),
    );
    second.write("token", "t");
    let paths = env::join_paths([&one, "/nowhere", &two]).unwrap();
    let environment = Environment::of([("KUBECONFIG", paths.to_str().unwrap())]);
    let access = access(&settings().with_environment(environment)).unwrap();
    assert_eq!(access.place(), " at `cluster.example`");
    let file = access.credentials.headers.token_file.unwrap();
    assert_eq!(Path::new(&file), second.0.join("token"));
}

#[test]
fn what_cannot_be_used_is_refused_without_its_text() {
    let folder = Folder::new();
    let of = |path: String| settings().with_property("kubeconfigPath", path);
    assert!(refused(&settings()).starts_with("no way to an API server is known"));
    assert!(refused(&of(folder.write("a", "users: [{token: c4n4ry"))).contains("format"));
    assert!(refused(&of(folder.write("a", b"\xff\xfec4n4ry"))).contains("format"));
    assert!(refused(&of(folder.write("a", ""))).contains("no current context"));
    for server in [
        "cluster:6443",
        "https://u:c4n4ry@cluster",
        "ftp://cluster",
        "",
        "https://",
    ] {
        let path = folder.kubeconfig(&json!({ "server": server }), &json!({}));
        assert!(refused(&of(path)).contains("`server`"), "{server}");
    }
    let server = json!({"server": "https://cluster"});
    for user in [
        json!({"token": "c4n4ry\nx"}),
        json!({"client-certificate-data": "c4n4ry!"}),
        json!({"client-certificate-data": "YzRuNHJ5", "client-key-data": "YzRuNHJ5"}),
        json!({"client-key-data": "YzRuNHJ5"}),
    ] {
        refused(&of(folder.kubeconfig(&server, &user)));
    }
    let path = folder.kubeconfig(&server, &json!({}));
    let settings = of(path).with_property("context", CANARY);
    assert!(refused(&settings).contains("no such context"));
    assert!(failure(access(&settings)).hint.contains("`now`"));
    assert!(
        failure(access(&granted(settings, Grants::all())))
            .hint
            .is_empty()
    );
}

#[test]
fn a_proxy_of_the_environment_is_used_but_for_what_it_excludes() {
    let folder = Folder::new();
    let place = |server: &str| {
        let path = folder.kubeconfig(&json!({ "server": server }), &json!({}));
        let environment = Environment::of([
            ("KUBECONFIG", path.as_str()),
            ("HTTPS_PROXY", "http://user:c4n4ry@proxy.example:3128"),
            ("NO_PROXY", ".internal"),
        ]);
        access(&settings().with_environment(environment))
            .unwrap()
            .place()
    };
    let proxied = " at `a.example` through proxy `proxy.example:3128`";
    assert_eq!(place("https://a.example"), proxied);
    assert_eq!(place("https://a.internal"), " at `a.internal`");
    assert_eq!(place("https://127.0.0.1:6443"), " at `127.0.0.1:6443`");
}

#[cfg(unix)]
#[tokio::test]
async fn a_plugin_gives_credentials_and_is_not_quoted() {
    use super::super::plugin;

    let folder = Folder::new();
    let run = async |script: &str| {
        let exec = json!({"command": "sh", "args": ["-c", script], "interactiveMode": "Never"});
        let cluster = json!({"server": "https://cluster"});
        let path = folder.kubeconfig(&cluster, &json!({ "exec": exec }));
        let mut access = access(&settings().with_property("kubeconfigPath", path)).unwrap();
        let plugin = access.credentials.plugin.take().unwrap();
        plugin::run(&plugin, &mut access.credentials)
            .await
            .map(|()| access.credentials)
    };
    let status = r#"{"token": "t\n", "expirationTimestamp": "2030-01-01T00:00:00Z"}"#;
    let credentials = run(&format!("printf %s '{{\"status\": {status}}}'"))
        .await
        .unwrap();
    assert!(credentials.headers.token.is_some());
    assert!(credentials.valid_until.is_some());
    for script in [
        "echo c4n4ry; echo c4n4ry >&2; exit 3",
        "echo c4n4ry",
        r#"echo '{"status": {"token": ["c4n4ry"]}}'"#,
        r#"printf %s '{"status": {"token": "c4n\n4ry"}}'"#,
        r#"echo '{"status": {}}'"#,
    ] {
        let error = run(script).await.err().expect("a failure");
        assert_eq!(error.class, Class::StoreMisconfigured);
        assert!(!format!("{error:?}").contains(CANARY), "{error:?}");
    }
}

/// Each connection to a server that is not there makes the credentials suspect.
#[cfg(unix)]
#[tokio::test]
async fn a_plugin_runs_once_for_many_secrets_of_a_server_that_is_not_there() {
    let folder = Folder::new();
    let ran = folder.0.join("ran");
    let script = format!(
        "echo >> {}; echo '{{\"status\": {{\"token\": \"t\"}}}}'",
        ran.display()
    );
    let exec = json!({"command": "sh", "args": ["-c", script], "interactiveMode": "Never"});
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let cluster = json!({"server": format!("http://{closed}")});
    let path = folder.kubeconfig(&cluster, &json!({ "exec": exec }));
    let store = Kubernetes::from_config(&settings().with_property("kubeconfigPath", path)).unwrap();
    let context = Context::new();
    let names = (0..50).map(|n| SecretRequest::new(format!("s{n}")));
    let names: Vec<_> = names.collect();
    let outcomes =
        futures_util::future::join_all(names.iter().map(|name| store.get(name, &context)));
    for outcome in outcomes.await {
        assert_eq!(outcome.unwrap_err().class, Class::Unreachable);
    }
    let runs = fs::read(ran).unwrap().len();
    assert!(runs <= 5, "{runs}");
}

/// A store outlives the runtime that it was first used in, and sends the token.
#[test]
fn each_runtime_finds_the_server() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let requests = thread::spawn(move || {
        let body = r#"{"metadata": {"name": "redis"}, "data": {"key": "YQ=="}}"#;
        let mut requests = Vec::new();
        for connection in server.incoming().take(2) {
            let mut connection = connection.unwrap();
            let mut request = vec![0; 4096];
            let length = connection.read(&mut request).unwrap();
            requests.push(String::from_utf8_lossy(&request[..length]).to_lowercase());
            let length = body.len();
            write!(
                connection,
                "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}"
            )
            .unwrap();
        }
        requests
    });
    let folder = Folder::new();
    let cluster = json!({"server": format!("http://{address}/base")});
    let path = folder.kubeconfig(&cluster, &json!({"token": "tkn"}));
    let store = Kubernetes::from_config(&settings().with_property("kubeconfigPath", path)).unwrap();
    for _ in 0..2 {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let (request, context) = (SecretRequest::new("redis"), Context::new());
        let secret = runtime
            .block_on(store.get(&request, &context))
            .unwrap()
            .unwrap();
        assert_eq!(secret.get("key").unwrap().reveal(), b"a");
    }
    for request in requests.join().unwrap() {
        assert!(request.starts_with("get /base/api/v1/namespaces/prod/secrets/redis http/1.1\r\n"));
        assert!(
            request.contains("authorization: bearer tkn\r\n"),
            "{request}"
        );
        assert!(request.contains("user-agent: keyref/"), "{request}");
    }
}
