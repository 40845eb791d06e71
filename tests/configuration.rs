//! Configuration stores against real servers. `kubernetes.rs` has the one of ConfigMaps.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use keyref::configuration::REGISTRY;
use keyref_tests::backends::{
    Backend as _, File, PASSWORD, Postgresql, Redis, certificate, component, free_port,
    secret_password, wait_until,
};
use keyref_tests::configuration::{get, serve, subscribe, suite, told, try_subscribe, values};

#[test]
fn every_kind_passes_the_suite() {
    for registration in REGISTRY {
        match registration.kind {
            "configuration.local.file" => suite(&mut File::new(), &[]),
            "configuration.redis" => {
                let Some(mut redis) = Redis::new(&[]) else {
                    continue;
                };
                suite(&mut redis, &[]);
            }
            "configuration.postgresql" => {
                let Some(mut postgresql) = Postgresql::new() else {
                    continue;
                };
                suite(&mut postgresql, &[]);
            }
            // Another name of the same.
            "configuration.postgres" => {
                let Some(postgresql) = Postgresql::new() else {
                    continue;
                };
                suite(&mut postgresql.called(registration.kind), &[]);
            }
            // It needs a cluster.
            "configuration.kubernetes" => {}
            kind => panic!("`{kind}` is not in the suite"),
        }
    }
}

fn pairs<'p>(pairs: &[(&'p str, &'p str)]) -> BTreeMap<String, String> {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

#[test]
fn redis_values_are_strings_with_versions() {
    let Some(redis) = Redis::new(&[]) else { return };
    for command in [
        &["SET", "versioned", "value||7||rest"][..],
        &["SET", "plain", "value"],
        &["SET", "empty", ""],
        &["SET", "only a version", "||7"],
        &["LPUSH", "list", "x"],
        &["SELECT", "0"],
    ] {
        redis.ask(command);
    }
    redis.ask(&["EVAL", "redis.call('SET', 'binary', '\\255')", "0"]);
    let (_work, server) = serve(&redis.component(), &[]);
    let expected = pairs(&[("plain", "value"), ("versioned", "value")]);
    assert_eq!(values(&server, &[]), expected);
    let keys = [
        "versioned",
        "plain",
        "empty",
        "list",
        "binary",
        "only a version",
    ];
    assert_eq!(values(&server, &keys), expected);
    let items = get(&server, "cfg", &["versioned", "plain"])
        .message
        .unwrap()
        .items;
    assert_eq!(
        (
            items["versioned"].version.as_str(),
            items["plain"].version.as_str()
        ),
        ("7", "")
    );
    // More than are asked for at a time.
    redis.ask(&[
        "EVAL",
        "for i = 1, 2100 do redis.call('SET', 'k' .. i, i) end",
        "0",
    ]);
    assert_eq!(values(&server, &[]).len(), 2102);
}

#[test]
fn a_subscription_waits_for_a_store_that_takes_the_place_of_its_own_and_is_away() {
    let (Some(mut redis), Some(mut other)) = (Redis::new(&[]), Redis::new(&[])) else {
        return;
    };
    redis.set("a", "one");
    other.set("a", "two");
    other.stop();
    let (work, server) = serve(&redis.component(), &[]);
    let mut stream = subscribe(&server, &["a"]);
    std::fs::write(work.path().join("r/cfg.yaml"), other.component()).unwrap();
    server.wait_for_log("the subscription waits for its store");
    // What its own says counts until then.
    redis.set("a", "meanwhile");
    assert_eq!(told(&mut stream)["a"].value, "meanwhile");
    other.start();
    assert_eq!(told(&mut stream)["a"].value, "two");
    other.set("a", "three");
    assert_eq!(told(&mut stream)["a"].value, "three");
    let log = server.log();
    let told = log.matches("the subscription waits").count();
    assert_eq!(told, 1, "{log}");
}

#[test]
fn redis_tells_of_its_own_database_and_of_keys_that_expire() {
    let Some(redis) = Redis::new(&[]) else { return };
    let yaml = redis.component().replace(
        "  metadata:\n",
        "  metadata:\n  - {name: redisDB, value: '3'}\n",
    );
    let (_work, server) = serve(&yaml, &[]);
    let mut stream = subscribe(&server, &["short"]);
    redis.ask(&["SET", "short", "elsewhere"]);
    redis.ask(&[
        "EVAL",
        "redis.call('SELECT', 3); redis.call('SET', 'short', 'here', 'PX', 300)",
        "0",
    ]);
    assert_eq!(told(&mut stream)["short"].value, "here");
    let gone = &told(&mut stream)["short"];
    assert_eq!((gone.value.as_str(), gone.version.as_str()), ("", ""));
}

#[test]
fn redis_keeps_the_events_that_others_want() {
    let Some(redis) = Redis::new(&["--notify-keyspace-events", "El"]) else {
        return;
    };
    let (_work, server) = serve(&redis.component(), &[]);
    values(&server, &[]);
    let events = || redis.ask(&["CONFIG", "GET", "notify-keyspace-events"]);
    // Who only reads needs none.
    assert!(!events().contains('K'), "{}", events());
    let mut stream = subscribe(&server, &["a"]);
    redis.ask(&["SET", "a", "one"]);
    assert_eq!(told(&mut stream)["a"].value, "one");
    let events = events();
    assert!(
        "ElKg$xe".chars().all(|event| events.contains(event)),
        "{events}"
    );
}

#[test]
fn redis_that_refuses_its_settings_serves_what_it_tells() {
    let Some(redis) = Redis::new(&["--notify-keyspace-events", "KA"]) else {
        return;
    };
    let user = format!(">{PASSWORD}");
    redis.ask(&[
        "ACL", "SETUSER", "app", "on", &user, "~*", "&*", "+@all", "-config",
    ]);
    let named = "  metadata:\n  - {name: redisUsername, value: app}\n";
    let yaml = redis.component().replace("  metadata:\n", named);
    let (_work, server) = serve(&yaml, &[]);
    for value in ["one", "two"] {
        let mut stream = subscribe(&server, &[]);
        redis.ask(&["SET", "a", value]);
        assert_eq!(told(&mut stream)["a"].value, value);
    }
    let log = server.log();
    assert_eq!(
        log.matches("Redis refuses to change `notify-keyspace-events`")
            .count(),
        1,
        "{log}"
    );
}

#[test]
fn a_login_that_is_refused_is_told_without_the_password() {
    let Some(redis) = Redis::new(&[]) else { return };
    redis.ask(&["ACL", "SETUSER", "default", "resetpass", ">another"]);
    let (_work, server) = serve(&redis.component(), &[]);
    let Some(postgresql) = Postgresql::new() else {
        return;
    };
    postgresql.ask("ALTER USER keyref PASSWORD 'another'");
    let (_other_work, other) = serve(&postgresql.component(), &[]);
    for (server, text) in [
        (&server, "Redis refuses the login"),
        (&other, "PostgreSQL refuses the login"),
    ] {
        let reply = get(server, "cfg", &[]);
        assert!(reply.text.ends_with(text), "{reply:?}");
        let classes = &reply.details[0].metadata;
        assert!(
            classes.values().any(|class| class == "backend-denied"),
            "{reply:?}"
        );
        assert!(try_subscribe(server, &[], &[]).status.is_some());
        assert!(!server.log().contains(PASSWORD), "{}", server.log());
    }
}

#[test]
fn redis_is_served_over_tls() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = certificate(folder.path());
    let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
    let port = free_port().to_string();
    let arguments = [
        "--tls-port",
        &port,
        "--tls-cert-file",
        certificate,
        "--tls-key-file",
        key,
        "--tls-ca-cert-file",
        certificate,
        "--tls-auth-clients",
        "no",
    ];
    let Some(_redis) = Redis::on(port.parse().unwrap(), &arguments) else {
        return;
    };
    let host = format!("127.0.0.1:{port}");
    let yaml = |more: &[(&str, &str)]| {
        let metadata = [
            &[("redisHost", host.as_str()), ("enableTLS", "true")][..],
            more,
        ]
        .concat();
        component("configuration.redis", &metadata) + &secret_password("redisPassword")
    };
    let (_work, server) = serve(&yaml(&[]), &[]);
    let reply = get(&server, "cfg", &[]);
    assert!(
        reply.text.contains("no TLS, because its certificate is"),
        "{reply:?}"
    );
    let (_work, server) = serve(&yaml(&[]), &[("SSL_CERT_FILE", certificate)]);
    assert_eq!(
        get(&server, "cfg", &[]).status,
        0,
        "{:?}",
        get(&server, "cfg", &[])
    );
    let (_work, server) = serve(&yaml(&[("insecureSkipTLSVerify", "true")]), &[]);
    assert_eq!(get(&server, "cfg", &[]).status, 0);
    drop(subscribe(&server, &["a"]));
    assert!(
        server
            .log()
            .contains("turns the check of Redis's certificate off")
    );
}

#[test]
fn postgresql_takes_the_row_of_the_highest_number() {
    let Some(postgresql) = Postgresql::new() else {
        return;
    };
    postgresql.ask(
        "INSERT INTO items VALUES ('a', 'nine', '9', NULL), ('a', 'ten', '10', '{\"k\": \"v\"}'), \
         ('a', 'none', 'x', 'null'), ('b/c.d_E', 'odd', '', '{}')",
    );
    let (_work, server) = serve(&postgresql.component(), &[]);
    assert_eq!(
        values(&server, &[]),
        pairs(&[("a", "ten"), ("b/c.d_E", "odd")])
    );
    let item = get(&server, "cfg", &["a"]).message.unwrap().items;
    assert_eq!(item["a"].metadata, pairs(&[("k", "v")]));
    let reply = get(&server, "cfg", &["a", "b-c"]);
    assert_eq!(
        (reply.status, reply.text.as_str()),
        (
            13,
            "failed to get [a b-c] from Configuration store cfg: invalid key : 'b-c'"
        )
    );
    // A change of a row that does not count is none.
    let mut stream = subscribe(&server, &["a"]);
    postgresql.ask("UPDATE items SET value = 'changed' WHERE value = 'nine'");
    postgresql.ask("DELETE FROM items WHERE value = 'ten'");
    assert_eq!(told(&mut stream)["a"].value, "changed");
    // What cannot be read is told, and what is known stays.
    postgresql.ask("INSERT INTO items VALUES ('a', 's3cr3t', '11', '[1]')");
    let reply = get(&server, "cfg", &["a"]);
    assert!(
        reply
            .text
            .ends_with("a row lacks its metadata of texts, that of key `a`"),
        "{reply:?}"
    );
    postgresql.ask("UPDATE items SET metadata = NULL, value = 'last' WHERE version = '11'");
    assert_eq!(told(&mut stream)["a"].value, "last");
    postgresql.ask("DROP TABLE items");
    let reply = get(&server, "cfg", &[]);
    assert!(
        reply.text.ends_with("the table does not exist"),
        "{reply:?}"
    );
    assert!(!server.log().contains("s3cr3t"));
}

#[test]
fn redis_has_one_connection_and_one_more_while_somebody_subscribes() {
    let Some(redis) = Redis::new(&[]) else { return };
    redis.ask(&["SET", "a", "one"]);
    let more = "  metadata:\n  - {name: poolSize, value: '9'}\n  - {name: minIdleConns, value: \
                '5'}\n  - {name: maxConnAge, value: 1s}\n";
    let yaml = redis.component().replace("  metadata:\n", more);
    let (_work, server) = serve(&yaml, &[]);
    let connections = || {
        let list = redis.ask(&["CLIENT", "LIST"]);
        let others = list.lines().filter(|line| !line.contains("cmd=client"));
        others.count()
    };
    // Those of this test's own questions take a moment to go.
    let has = |number| wait_until("the number", || connections() == number);
    let read = || assert_eq!(values(&server, &["a"])["a"], "one");
    read();
    std::thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(read);
        }
    });
    has(1);
    let _streams = [subscribe(&server, &["a"]), subscribe(&server, &[])];
    read();
    has(2);
}

#[test]
fn postgresql_passes_over_metadata_of_a_get() {
    let Some(postgresql) = Postgresql::new() else {
        return;
    };
    postgresql.ask("INSERT INTO items VALUES ('a', 'one', '1', '{\"k\": \"v\"}')");
    let (_work, server) = serve(&postgresql.component(), &[]);
    let read = |query: &str| server.ask(&format!("GET /v1.0/configuration/cfg{query}"));
    let plain = read("?key=a");
    assert!(plain.body.contains("\"one\""), "{plain:?}");
    for query in ["metadata.k=v", "metadata.k=other", "metadata.value=none"] {
        let answer = read(&format!("?key=a&{query}"));
        assert_eq!((answer.status, &answer.body), (200, &plain.body), "{query}");
    }
}

#[test]
fn postgresql_has_one_connection_and_one_more_while_somebody_subscribes() {
    let Some(postgresql) = Postgresql::new() else {
        return;
    };
    postgresql.ask("INSERT INTO items VALUES ('a', 'one', '1', NULL)");
    let pool = " dbname=postgres pool_max_conns=7 pool_min_conns=5 pool_max_conn_lifetime=1s";
    let more = "  metadata:\n  - {name: maxConns, value: \"6\"}\n  - {name: connectionMaxIdleTime, value: \
                1s}\n  - {name: queryExecMode, value: simple_protocol}\n";
    let yaml = postgresql.component().replace(" dbname=postgres", pool);
    let (_work, server) = serve(&yaml.replace("  metadata:\n", more), &[]);
    let connections = || {
        let others = "SELECT count(*), min(backend_start) FROM pg_stat_activity WHERE \
                      backend_type = 'client backend' AND pid <> pg_backend_pid()";
        postgresql.ask(others)
    };
    let read = || assert_eq!(values(&server, &["a"])["a"], "one");
    read();
    let first = connections();
    assert!(first.starts_with("1|"), "{first}");
    std::thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(read);
        }
    });
    // The same one, older than it should be.
    std::thread::sleep(std::time::Duration::from_millis(1_500));
    read();
    assert_eq!(connections(), first);
    let stream = subscribe(&server, &["a"]);
    let both = first.replacen('1', "2", 1);
    assert_eq!(connections(), both);
    let other = subscribe(&server, &[]);
    read();
    assert_eq!(connections(), both);
    drop((stream, other));
    wait_until("the end", || connections() == first);
}

#[test]
fn postgresql_listens_to_the_channel_of_the_store_or_else_of_the_request() {
    let Some(postgresql) = Postgresql::new() else {
        return;
    };
    let own = "  - {name: notifyChannel, value: \"told\"}\n";
    assert!(postgresql.component().contains(own));
    let (_work, server) = serve(&postgresql.component().replace(own, ""), &[]);
    let stream = try_subscribe(&server, &["a"], &[]);
    assert_eq!(stream.status, Some(3));
    let bad = try_subscribe(
        &server,
        &["a"],
        &[("pgNotifyChannel", "x\"; DROP TABLE items")],
    );
    assert_eq!(bad.status, Some(3));
    let mut other = try_subscribe(&server, &["a"], &[("pgNotifyChannel", "other")]);
    let mut stream = try_subscribe(&server, &["a"], &[("PGNOTIFYCHANNEL", "told")]);
    for stream in [&mut other, &mut stream] {
        assert!(told(stream).is_empty());
    }
    postgresql.ask("INSERT INTO items VALUES ('a', 'one', '1', NULL)");
    assert_eq!(told(&mut stream)["a"].value, "one");
    // The store's own comes first.
    let (_work, server) = serve(&postgresql.component(), &[]);
    let mut stream = try_subscribe(&server, &["a"], &[("pgNotifyChannel", "other")]);
    assert!(told(&mut stream).is_empty());
    postgresql.ask("UPDATE items SET value = 'two'");
    assert_eq!(told(&mut stream)["a"].value, "two");
    // A connection ends once nobody listens; that of the other server stays.
    drop(stream);
    let listening = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'";
    wait_until("the end", || postgresql.ask(listening) == "1");
}

#[test]
fn postgresql_is_served_over_tls() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = certificate(folder.path());
    let Some(mut postgresql) = Postgresql::new() else {
        return;
    };
    postgresql.stop();
    for (from, into) in [(&certificate, "server.crt"), (&key, "server.key")] {
        let into = postgresql.file(into);
        std::fs::copy(from, &into).unwrap();
        std::fs::set_permissions(&into, std::fs::Permissions::from_mode(0o600)).unwrap();
        let chown = Command::new("chown")
            .arg("--reference")
            .args([postgresql.file("PG_VERSION"), into])
            .status();
        assert!(chown.unwrap().success());
    }
    postgresql.start();
    let plain = postgresql.port;
    postgresql.ask("ALTER SYSTEM SET ssl = on");
    postgresql.stop();
    postgresql.start();
    let authority = certificate.to_str().unwrap();
    for (host, mode, expected) in [
        ("127.0.0.1", "sslmode=disable", None),
        ("127.0.0.1", "sslmode=require", None),
        (
            "127.0.0.1",
            &format!("sslmode=verify-full sslrootcert={authority}"),
            None,
        ),
        (
            "localhost",
            &format!("sslmode=verify-ca sslrootcert={authority}"),
            None,
        ),
        (
            "localhost",
            &format!("sslmode=verify-full sslrootcert={authority}"),
            Some("certificate is for another name"),
        ),
        (
            "127.0.0.1",
            "sslmode=verify-full",
            Some("no TLS, because its certificate is"),
        ),
    ] {
        let string = format!("host={host} port={plain} user=keyref dbname=postgres {mode}");
        let metadata = [("connectionString", string.as_str()), ("table", "items")];
        let yaml = component("configuration.postgres", &metadata) + &secret_password("password");
        let (_work, server) = serve(&yaml, &[]);
        let reply = get(&server, "cfg", &[]);
        match expected {
            None => assert_eq!(reply.status, 0, "{mode}: {reply:?}"),
            Some(text) => assert!(reply.text.contains(text), "{mode}: {reply:?}"),
        }
    }
}

#[test]
fn wrong_settings_end_the_start_with_their_place() {
    for (kind, metadata, part) in [
        (
            "configuration.redis",
            &[("redisHost", "localhost:1"), ("redisType", "cluster")][..],
            "`redisType` `cluster` is not supported",
        ),
        (
            "configuration.redis",
            &[("redisPort", "1")],
            "`redisHost` is missing",
        ),
        (
            "configuration.postgresql",
            &[("table", "items")],
            "`connectionString` names no host",
        ),
        (
            "configuration.postgres",
            &[("connectionString", "host=localhost")],
            "`table` is missing",
        ),
        (
            "configuration.kubernetes",
            &[("resyncPeriod", "5m")],
            "`configMapName` is missing",
        ),
        (
            "configuration.kubernetes",
            &[("configMapName", "A")],
            "`configMapName` is not a name that Kubernetes allows",
        ),
    ] {
        let work = keyref_tests::folder(&[("r/cfg.yaml", component(kind, metadata).as_bytes())]);
        let (status, log) = keyref_tests::server::refused(work.path(), &["--resources", "r"], &[]);
        assert_eq!(status.code(), Some(1), "{log}");
        assert!(log.contains(part), "{log}");
    }
}

#[test]
fn what_is_at_fault_is_told_but_for_a_setting_from_a_secret() {
    let yaml = component(
        "configuration.redis",
        &[("redisHost", "localhost:1"), ("failover", "true")],
    );
    let yaml = yaml + &secret_password("redisPassword");
    let vault = component(
        "secretstores.local.file",
        &[("secretsFile", "s.json"), ("multiValued", "true")],
    );
    let vault = vault.replace("name: cfg", "name: vault");
    let secrets = format!(r#"{{"backend": {{"password": "{PASSWORD}"}}}}"#);
    let work = keyref_tests::folder(&[
        ("r/cfg.yaml", yaml.as_bytes()),
        ("r/vault.yaml", vault.as_bytes()),
        ("s.json", secrets.as_bytes()),
    ]);
    let (_, log) = keyref_tests::server::refused(work.path(), &["--resources", "r"], &[]);
    assert!(
        log.contains("`failover`, a way through sentinels, is not supported"),
        "{log}"
    );
    // The setting that is itself from a secret is not.
    let hidden = yaml.replace("redisPassword", "redisDB");
    std::fs::write(
        work.path().join("r/cfg.yaml"),
        hidden.replace("failover", "idle"),
    )
    .unwrap();
    let (_, log) = keyref_tests::server::refused(work.path(), &["--resources", "r"], &[]);
    assert!(
        log.contains("the store cannot be used as it is set up"),
        "{log}"
    );
    assert!(!log.contains(PASSWORD), "{log}");
}
