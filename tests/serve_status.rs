//! The status page: what an operator sees in a browser, what scripts read, who may look, and that no
//! value and no markup of others is there.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use keyref_tests::backends::{Backend as _, PASSWORD, Redis};
use keyref_tests::browser::{Browser, Page, tags};
use keyref_tests::dapr::{DAPR, GetItems, two_stores};
use keyref_tests::folder;
use keyref_tests::server::{Answer, Server, Stream, ask_at, refused};
use serde_json::{Value, json};
use tempfile::TempDir;

/// In every secret, and in what people paste as plain text: it must be seen nowhere.
const CANARY: &str = "c4n4ry";

/// Stores of both kinds that answer, that do not, and that cannot be opened.
const STORES: &str = r#"
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: vault}
spec: {type: secretstores.local.file, version: v1, metadata: [{name: secretsFile, value: secrets.json}]}
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: cluster}
spec: {type: secretstores.kubernetes, version: v1, metadata: [{name: kubeconfigPath, value: kubeconfig}, {name: defaultNamespace, value: default}]}
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: optional}
spec: {type: secretstores.local.file, version: v1, ignoreErrors: true, metadata: [{name: secretsFile, value: gone.json}]}
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: settings}
spec: {type: configuration.redis, version: v1, metadata: [{name: redisHost, value: "127.0.0.1:1"}, {name: redisUsername, value: c4n4ry}]}
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: flags}
spec: {type: configuration.local.file, version: v1, metadata: [{name: configFile, value: flags.yaml}]}
"#;

/// Components that resolve, and one that does not, with what people paste.
const COMPONENTS: &str = r#"
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: orders}
spec:
  type: state.redis
  version: v1
  metadata:
  - {name: redisHost, value: "c4n4ry:c4n4ry@redis"}
  - {name: redisPassword, secretKeyRef: {name: redis, key: redis}}
auth: {secretStore: vault}
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: stock}
spec:
  type: state.redis
  version: v1
  metadata:
  - {name: redisPassword, value: c4n4ry, secretKeyRef: {name: nothing, key: nothing}}
  - {name: other, secretKeyRef: {name: denied, key: denied}}
auth: {secretStore: vault}
---
apiVersion: dapr.io/v1alpha1
kind: HTTPEndpoint
metadata: {name: payments}
spec:
  baseUrl: "https://c4n4ry:c4n4ry@pay.example"
  headers:
  - {name: Authorization, secretKeyRef: {name: redis, key: redis}}
auth: {secretStore: vault}
"#;

const KUBECONFIG: &str = r#"
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "http://127.0.0.1:1"}}]
users: [{name: u, user: {token: c4n4ry}}]
contexts: [{name: x, context: {cluster: c, user: u, namespace: default}}]
current-context: x
"#;

/// A server with a status page on these stores and components; one secret is denied.
fn server(arguments: &[&str], variables: &[(&str, &str)]) -> (TempDir, Server) {
    let work = folder(&[
        ("r/stores.yaml", STORES.as_bytes()),
        ("r/components.yaml", COMPONENTS.as_bytes()),
        (
            "secrets.json",
            br#"{"redis": "c4n4ry-1", "denied": "c4n4ry-2"}"#,
        ),
        ("flags.yaml", b"flag: c4n4ry\n"),
        ("kubeconfig", KUBECONFIG.as_bytes()),
        (
            "c.yaml",
            b"kind: Configuration\nspec: {secrets: {scopes: [{storeName: vault, deniedSecrets: [denied]}]}}\n",
        ),
    ]);
    let fixed = ["--resources", "r", "--config", "c.yaml", "--app-id", "shop"];
    let port = ["--admin-port", "0"];
    let server = Server::start(
        work.path(),
        &[&fixed[..], &port, arguments].concat(),
        variables,
    );
    (work, server)
}

fn at(server: &Server) -> SocketAddr {
    server.status.expect("it logs where the page is")
}

fn url(server: &Server) -> String {
    format!("http://{}/", at(server))
}

/// Opens a page, on which nothing may have been kept from running.
fn open(browser: &Browser, url: &str) -> Page {
    let page = browser.open(url, &[]);
    assert!(page.console.is_empty(), "{:?}", page.console);
    assert!(!page.dom.contains(CANARY), "{}", page.dom);
    page
}

fn facts(server: &Server) -> Value {
    let answer = ask_at(at(server), "GET /status.json", &[], "");
    assert_eq!(answer.status, 200);
    assert!(!answer.body.contains(CANARY), "{}", answer.body);
    assert!(answer.body.is_ascii());
    serde_json::from_str(&answer.body).unwrap()
}

/// The facts once this is so.
fn facts_once(server: &Server, is_so: impl Fn(&Value) -> bool) -> Value {
    let begin = Instant::now();
    loop {
        let facts = facts(server);
        if is_so(&facts) {
            return facts;
        }
        assert!(begin.elapsed() < Duration::from_secs(30), "{facts:#}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What has this name in a list.
fn named<'f>(facts: &'f Value, list: &str, name: &str) -> &'f Value {
    let mut all = facts[list].as_array().unwrap().iter();
    let found = all.find(|one| one["name"] == name);
    found.unwrap_or_else(|| panic!("{name} is not in {facts:#}"))
}

/// The row of a table in which this stands as the first cell.
fn row<'d>(dom: &'d str, name: &str) -> &'d str {
    let begin = format!("scope=\"row\"><code dir=\"auto\">{name}</code>");
    let (_, rest) = dom.split_once(&begin).unwrap_or_else(|| panic!("{dom}"));
    rest.split_once("</tr>").unwrap().0
}

/// What is sent as it stands here.
fn send(address: SocketAddr, head: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let text = format!("{head}\r\nConnection: close\r\n\r\n");
    stream.write_all(text.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn the_page_shows_stores_components_and_who_has_asked() {
    let Some(browser) = Browser::find() else {
        return;
    };
    let (_work, server) = server(&["--components-port", "0", "--cache", "vault=30s"], &[]);
    for ask in ["vault/redis", "vault/denied", "vault/none", "vault/bulk"] {
        server.ask(&format!("GET /v1.0/secrets/{ask}"));
    }
    server.ask("GET /v1.0/secrets/cluster/redis");
    server.ask("GET /v1.0/configuration/settings?key=a");
    server.ask("GET /v1.0/configuration/flags?key=flag");
    facts_once(&server, |facts| !facts["resolving"]["refreshed"].is_null());
    let page = open(&browser, &url(&server));
    let dom = &page.dom;
    assert!(dom.contains("<title>keyref · shop</title>"), "{dom}");
    assert!(dom.contains("<span class=\"state good\">ready</span>"));
    assert!(row(dom, "vault").contains(">answers<"));
    assert!(row(dom, "vault").contains(">30 s<"));
    assert!(row(dom, "cluster").contains(">fails: unreachable<"));
    assert!(row(dom, "settings").contains(">fails: unreachable<"));
    assert!(row(dom, "flags").contains(">answers<"));
    assert!(row(dom, "optional").contains(">not open: store-misconfigured<"));
    assert!(row(dom, "optional").contains("ignoreErrors"));
    assert!(dom.contains("r/stores.yaml:"));
    assert!(row(dom, "orders").contains(">resolved<"));
    let stock = row(dom, "stock");
    for part in [">not resolved<", ">secret-absent<", ">policy-denied<"] {
        assert!(stock.contains(part), "{stock}");
    }
    assert!(row(dom, "payments").contains(">HTTPEndpoint <"));
    let denied = dom.split("<tr").find(|row| row.contains(">denied</span>"));
    let denied = denied.expect("it was denied");
    for part in [
        "<code dir=\"auto\">denied</code>",
        "deniedSecrets",
        "http 127.0.0.1:",
    ] {
        assert!(denied.contains(part), "{denied}");
    }
    // The browser had nothing to mend.
    let source = ask_at(at(&server), "GET /", &[], "").body;
    assert_eq!(tags(&source), tags(dom));
    assert!(!source.contains(CANARY));
}

#[test]
fn scripts_read_the_same_as_json() {
    let (_work, server) = server(&["--components-port", "0"], &[]);
    for ask in ["vault/redis", "vault/denied", "vault/bulk", "nowhere/x"] {
        server.ask(&format!("GET /v1.0/secrets/{ask}"));
    }
    server.ask("GET /v1.0/secrets/cluster/redis");
    server.ask("GET /v1.0/configuration/settings?key=a");
    let facts = facts_once(&server, |facts| !facts["resolving"]["refreshed"].is_null());
    assert_eq!(
        (&facts["app_id"], &facts["mode"], &facts["ready"]),
        (&json!("shop"), &json!("strict"), &json!(true))
    );
    assert!(facts["loaded"].as_str().unwrap() >= facts["started"].as_str().unwrap());
    // Two reads, and the references of components, of which one is fetched for both.
    let vault = named(&facts, "stores", "vault");
    assert!(vault["health"]["asked"].as_u64().unwrap() >= 3);
    assert_eq!(vault["health"]["failed"], 0);
    assert_eq!(vault["health"]["under_way"], 0);
    assert_eq!(vault["health"]["last"]["outcome"], "answered");
    let cluster = named(&facts, "stores", "cluster");
    assert_eq!(cluster["health"]["asked"], 1);
    assert_eq!(cluster["health"]["failed"], 1);
    let settings = named(&facts, "stores", "settings");
    assert_eq!(settings["kind"], "configuration");
    assert_eq!(settings["health"]["last"]["outcome"], "unreachable");
    let optional = named(&facts, "stores", "optional");
    assert_eq!(
        (
            &optional["open"],
            &optional["class"],
            &optional["ignore_errors"]
        ),
        (&json!(false), &json!("store-misconfigured"), &json!(true))
    );
    assert_eq!(facts["problems"][0]["component"], "optional");
    assert_eq!(facts["problems"][0]["document"], "r/stores.yaml");
    let orders = named(&facts, "components", "orders");
    assert_eq!(orders["state"], "resolved");
    let reference = json!({
        "property": "redisPassword", "store": "vault", "secret": "redis", "key": "redis",
        "variable": null, "state": "resolved"
    });
    assert_eq!(orders["references"], json!([reference]));
    let payments = named(&facts, "components", "payments");
    assert_eq!(payments["type"], Value::Null);
    let records = facts["audit"].as_array().unwrap();
    let told: Vec<_> = records.iter().map(|record| &record["outcome"]).collect();
    assert_eq!(told[1..], ["store-unknown", "found", "denied", "found"]);
    assert_eq!(records[2]["served"], 1);
    assert_eq!(records[3]["rule"], "deniedSecrets");
}

#[test]
fn names_that_others_make_up_are_text_and_run_nothing() {
    let Some(browser) = Browser::find() else {
        return;
    };
    let (work, server) = server(&[], &[]);
    let name = r#"<img src=x onerror=document.title=1>\"'&amp;<script>document.title=2<script>"#;
    let document = format!(
        "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {{name: \"{name}\"}}\nspec: \
         {{type: secretstores.local.env, version: v1, metadata: []}}\n"
    );
    fs::write(work.path().join("r/odd.yaml"), document).unwrap();
    facts_once(&server, |facts| facts["reload"]["outcome"] == "whole");
    let agent = [("User-Agent", "<svg onload=document.title=3>")];
    let asks = [
        "vault/%3Cscript%3Edocument.title=4%3C%2Fscript%3E",
        "vault/%E2%80%AE%1B%00%22%27%3E%3Cb%3E",
        "%3Ciframe%20src=javascript:alert(1)%3E/x",
    ];
    for ask in asks {
        let ask = format!("GET /v1.0/secrets/{ask}");
        ask_at(server.http, &ask, &agent, "");
    }
    let page = open(&browser, &url(&server));
    let dom = &page.dom;
    assert!(dom.contains("<title>keyref · shop</title>"), "{dom}");
    let known = ["script", "img", "svg", "iframe", "b"];
    let made: Vec<_> = tags(dom);
    assert!(
        !made.iter().any(|tag| known.contains(&tag.as_str())),
        "{made:?}"
    );
    let shown = "<code dir=\"auto\">&lt;img src=x onerror=document.title=1&gt;\"'&amp;amp;&lt;script&gt;document.title=2&lt;script&gt;</code>";
    assert!(dom.contains(shown), "{dom}");
    assert!(dom.contains("&lt;script&gt;document.title=4&lt;/script&gt;"));
    assert!(dom.contains("<small>&lt;svg onload=document.title=3&gt;</small>"));
    assert!(
        dom.contains("\\u{202e}\\u{1b}\\u{0}\"'&gt;&lt;b&gt;"),
        "{dom}"
    );
    let source = ask_at(at(&server), "GET /", &[], "").body;
    assert_eq!(tags(&source), tags(dom));
    assert_eq!(
        facts(&server)["audit"][2]["secret"],
        "<script>document.title=4</script>"
    );
}

#[test]
fn the_page_is_only_looked_at_and_no_other_page_can_look() {
    let (_work, server) = server(&[], &[]);
    let ask = |ask: &str| ask_at(at(&server), ask, &[], "");
    let guarded = |answer: &Answer| {
        let policy = &answer.headers["content-security-policy"];
        assert!(
            policy.starts_with("default-src 'none'; style-src 'sha256-"),
            "{policy}"
        );
        assert!(policy.ends_with("; frame-ancestors 'none'"));
        for (name, value) in [
            ("cache-control", "no-store"),
            ("referrer-policy", "no-referrer"),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(answer.headers[name], value);
        }
        assert!(!answer.headers.contains_key("access-control-allow-origin"));
    };
    for path in ["/", "/?refresh=5", "/status.json"] {
        let answer = ask(&format!("GET {path}"));
        assert_eq!(answer.status, 200);
        guarded(&answer);
        let head = ask(&format!("HEAD {path}"));
        assert_eq!((head.status, head.body.as_str()), (200, ""));
        assert!(head.headers["content-length"].parse::<usize>().unwrap() > 1_000);
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"] {
        let answer = ask(&format!("{method} /"));
        assert_eq!(answer.status, 405, "{method}");
        assert_eq!(answer.headers["allow"], "GET, HEAD");
        guarded(&answer);
    }
    for path in [
        "/v1.0/secrets/vault/redis",
        "/status",
        "/status.json/",
        "/metrics",
    ] {
        let answer = ask(&format!("GET {path}"));
        assert_eq!(answer.status, 404, "{path}");
        guarded(&answer);
    }
    assert!(
        ask("GET /?refresh=7")
            .body
            .contains("http-equiv=\"refresh\" content=\"7\"")
    );
    for refresh in [
        "",
        "?refresh=0",
        "?refresh=3601",
        "?refresh=5;url=//x",
        "?refresh=%22",
    ] {
        let answer = ask(&format!("GET /{refresh}"));
        assert!(!answer.body.contains("http-equiv"), "{refresh}");
    }
}

#[test]
fn a_name_that_somebody_points_here_is_refused() {
    let (_work, server) = server(&[], &[]);
    let by = |host: &str| send(at(&server), &format!("GET / HTTP/1.1{host}"));
    for host in [
        "\r\nHost: localhost:1",
        "\r\nHost: 127.0.0.1",
        "\r\nHost: [::1]:1",
    ] {
        assert!(by(host).starts_with("HTTP/1.1 200 "), "{host}");
    }
    for host in [
        "\r\nHost: evil.example",
        "\r\nHost: 127.0.0.1.evil.example",
        "",
    ] {
        let answer = by(host);
        assert!(answer.starts_with("HTTP/1.1 403 "), "{host}: {answer}");
        assert!(!answer.contains("vault"), "{answer}");
    }
    let Some(browser) = Browser::find() else {
        return;
    };
    let rule = "--host-resolver-rules=MAP evil.example 127.0.0.1";
    let address = format!("http://evil.example:{}/", at(&server).port());
    let page = browser.open(&address, &[rule]);
    assert!(
        page.dom.contains("the host must be an address"),
        "{}",
        page.dom
    );
    assert!(!page.dom.contains("vault"));
}

#[test]
fn a_token_is_asked_for_as_a_password_and_an_address_of_all_needs_one() {
    let (work, server) = server(&[], &[("KEYREF_ADMIN_TOKEN", "t0ken")]);
    let by = |header: &str| {
        let headers = [("Authorization", header)];
        ask_at(at(&server), "GET /", &headers, "")
    };
    // `operator:t0ken`
    for right in ["Basic b3BlcmF0b3I6dDBrZW4=", "Bearer t0ken"] {
        assert_eq!(by(right).status, 200, "{right}");
    }
    for wrong in ["Basic b3BlcmF0b3I6dDBrZQ==", "Bearer t0ke", "Basic t0ken"] {
        let answer = by(wrong);
        assert_eq!(answer.status, 401, "{wrong}");
        assert_eq!(
            answer.headers["www-authenticate"],
            "Basic realm=\"keyref\", charset=\"UTF-8\""
        );
        assert!(!answer.body.contains("vault") && !answer.body.contains("t0ke"));
    }
    assert!(!server.log().contains("t0ken"));
    if let Some(browser) = Browser::find() {
        let address = format!("http://operator:t0ken@{}/", at(&server));
        assert!(row(&open(&browser, &address).dom, "vault").contains("local.file"));
    }
    drop(server);

    let public = ["--admin-port", "0", "--admin-listen-address", "0.0.0.0"];
    let allowed = [&public[..], &["--allow-public-without-token"]].concat();
    for arguments in [&public[..], &allowed] {
        let (status, log) = refused(work.path(), arguments, &[]);
        assert_eq!(status.code(), Some(2), "{log}");
        assert!(log.contains("KEYREF_ADMIN_TOKEN"), "{log}");
    }
    let token = [("KEYREF_ADMIN_TOKEN", "t")];
    let served = Server::start(work.path(), &public, &token);
    assert_eq!(at(&served).ip().to_string(), "0.0.0.0");
    fs::write(work.path().join("token"), "from-file\n").unwrap();
    let file = [&public[..], &["--admin-token-file", "token"]].concat();
    let served = Server::start(work.path(), &file, &[]);
    let local = SocketAddr::from(([127, 0, 0, 1], at(&served).port()));
    let bearer = [("Authorization", "Bearer from-file")];
    assert_eq!(ask_at(local, "GET /", &bearer, "").status, 200);
    assert_eq!(ask_at(local, "GET /", &[], "").status, 401);
}

#[test]
fn what_a_reload_did_not_take_over_is_told_until_it_is_mended() {
    let (work, server) = server(&[], &[]);
    assert_eq!(facts(&server)["reload"], Value::Null);
    let path = work.path().join("r/components.yaml");
    let broken = COMPONENTS.replace("type: state.redis", "type: [c4n4ry: c4n4ry");
    fs::write(&path, broken).unwrap();
    let is_told = |facts: &Value| facts["reload"]["outcome"] == "partial";
    let told = facts_once(&server, is_told);
    let problem = &told["reload"]["problems"][0];
    assert_eq!(problem["class"], "document-syntax");
    assert_eq!(problem["document"], "r/components.yaml");
    assert!(problem["line"].as_u64().unwrap() > 1);
    // It is served as it was.
    assert_eq!(named(&told, "components", "orders")["type"], "state.redis");
    if let Some(browser) = Browser::find() {
        let page = open(&browser, &url(&server));
        for part in [
            "taken over in part",
            "r/components.yaml:",
            ">document-syntax<",
        ] {
            assert!(page.dom.contains(part), "{part}: {}", page.dom);
        }
    }
    let more = COMPONENTS.replace("name: orders", "name: orders-2");
    fs::write(&path, more).unwrap();
    let mended = facts_once(&server, |facts| facts["reload"]["outcome"] == "whole");
    assert_eq!(mended["reload"]["problems"], json!([]));
    named(&mended, "components", "orders-2");
    assert!(mended["loaded"].as_str() > told["loaded"].as_str());
}

#[test]
fn the_token_of_the_status_page_is_no_secret_of_a_store() {
    let variables = [("KEYREF_ADMIN_TOKEN", "t0ken"), ("OTHER", "v")];
    let (_work, server) = two_stores(&[], &variables);
    let read = |ask: &str| server.ask(&format!("GET /v1.0/secrets/env/{ask}")).body;
    assert_eq!(read("OTHER"), "{\"OTHER\":\"v\"}\n");
    assert!(!read("KEYREF_ADMIN_TOKEN").contains("t0ken"));
    assert!(!read("bulk").contains("t0ken"));
}

/// Redis of Debian's package.
#[test]
fn a_backend_that_goes_away_is_told_until_it_is_back() {
    let Some(mut redis) = Redis::new(&[]) else {
        return;
    };
    let vault = "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: vault}\nspec: {type: \
         secretstores.local.file, version: v1, metadata: [{name: secretsFile, value: vault.json}, \
         {name: multiValued, value: true}]}\n";
    let secrets = json!({ "backend": { "password": PASSWORD } }).to_string();
    let work = folder(&[
        ("r/cfg.yaml", redis.component().as_bytes()),
        ("r/vault.yaml", vault.as_bytes()),
        ("vault.json", secrets.as_bytes()),
    ]);
    let arguments = ["--resources", "r", "--admin-port", "0"];
    let server = Server::start(work.path(), &arguments, &[]);
    let subscribe = GetItems {
        store: "cfg".to_owned(),
        keys: vec!["key".to_owned()],
    };
    let method = format!("{DAPR}/SubscribeConfiguration");
    let _stream = Stream::open(server.grpc, &method, &subscribe, &[]);
    let so = |number: u64, is_deaf: bool| {
        facts_once(&server, |facts| {
            let store = named(facts, "stores", "cfg");
            store["subscriptions"] == number && store["deaf"] == is_deaf
        })
    };
    so(1, false);
    assert!(redis.stop());
    let told = so(1, true);
    assert!(!told.to_string().contains(PASSWORD), "{told}");
    let source = ask_at(at(&server), "GET /", &[], "").body;
    assert!(row(&source, "cfg").contains(">changes are not heard of<"));
    assert!(!source.contains(PASSWORD));
    redis.start();
    so(1, false);
}

#[test]
fn the_trail_is_shown_and_written_and_nothing_is_there_without_a_port() {
    let (work, server) = server(&["--audit-log", "audit.jsonl"], &[]);
    let long = "x".repeat(3_000);
    server.ask(&format!("GET /v1.0/secrets/vault/{long}"));
    let facts = facts(&server);
    let shown = facts["audit"][0]["secret"].as_str().unwrap();
    assert_eq!(shown.chars().count(), 201);
    let begin = Instant::now();
    while !fs::read_to_string(work.path().join("audit.jsonl"))
        .is_ok_and(|text| text.contains(&long))
    {
        assert!(begin.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(5));
    }
    let without = Server::start(work.path(), &["--resources", "r"], &[]);
    assert!(without.status.is_none());
}

#[test]
fn a_picture_can_be_taken_wide_and_narrow_light_and_dark() {
    let Some(browser) = Browser::find() else {
        return;
    };
    let (_work, server) = server(&[], &[]);
    let wide = "--window-size=1280,1000";
    let light = browser.picture(&url(&server), &[wide]);
    let dark = "--blink-settings=preferredColorScheme=0";
    let dark = browser.picture(&url(&server), &[wide, dark]);
    let narrow = browser.picture(&url(&server), &["--window-size=400,1000"]);
    for picture in [&light, &dark, &narrow] {
        assert!(picture.starts_with(b"\x89PNG") && picture.len() > 10_000);
    }
    assert_ne!(light, dark);
    let width = |picture: &[u8]| u32::from_be_bytes(picture[16..20].try_into().unwrap());
    assert_eq!((width(&light), width(&narrow)), (1280, 400));
}
