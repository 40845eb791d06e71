//! What a server takes over while it runs: files of every kind that change, come and go.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use keyref_tests::dapr::{Change, DAPR, GetItems, bulk, get};
use keyref_tests::files::{SILENCE, UNKNOWN, component, read, store, until, write};
use keyref_tests::folder;
use keyref_tests::library::shortest;
use keyref_tests::server::{Server, Stream};
use tempfile::TempDir;

/// A folder with one store, and a server of it.
fn server(arguments: &[&str]) -> (TempDir, Server) {
    let work = folder(&[
        ("r/one.yaml", store("one", "one.json").as_bytes()),
        ("one.json", b"{\"key\": \"s3cr3t-1\"}"),
        ("two.json", b"{\"key\": \"s3cr3t-2\"}"),
        ("c.yaml", b"kind: Configuration\nspec: {}\n"),
    ]);
    let arguments = [&["--resources", "r", "--config", "c.yaml"], arguments].concat();
    let server = Server::start(work.path(), &arguments, &[("key", "s3cr3t-env")]);
    (work, server)
}

#[test]
fn components_are_added_changed_exchanged_and_removed() {
    let (work, server) = server(&[]);
    assert_eq!(read(&server, "two"), UNKNOWN);
    write(&work, "r/two.yaml", &store("two", "two.json"));
    until(&server, "two", "s3cr3t-2");
    write(&work, "r/two.yaml", &store("two", "one.json"));
    until(&server, "two", "s3cr3t-1");
    write(
        &work,
        "r/two.yaml",
        &component("two", "secretstores.local.env", "[]"),
    );
    until(&server, "two", "s3cr3t-env");
    let from = work.path().join("r/two.yaml");
    fs::rename(&from, work.path().join("r/renamed.yml")).unwrap();
    thread::sleep(SILENCE);
    assert_eq!(read(&server, "two"), "s3cr3t-env");
    fs::remove_file(work.path().join("r/renamed.yml")).unwrap();
    until(&server, "two", UNKNOWN);
    assert_eq!(read(&server, "one"), "s3cr3t-1");
    assert!(!server.log().contains("s3cr3t"), "{}", server.log());
}

#[test]
fn the_metadata_lists_what_is_there_now() {
    let (work, server) = server(&[]);
    let state = component("state", "state.in-memory", "[]");
    write(
        &work,
        "r/state.yaml",
        &format!("{state}---\n{}", store("two", "two.json")),
    );
    until(&server, "two", "s3cr3t-2");
    let metadata = server.ask("GET /v1.0/metadata").body;
    assert!(metadata.contains("\"state.in-memory\""), "{metadata}");
    fs::remove_file(work.path().join("r/state.yaml")).unwrap();
    until(&server, "two", UNKNOWN);
    let metadata = server.ask("GET /v1.0/metadata").body;
    assert!(!metadata.contains("\"state.in-memory\""), "{metadata}");
}

#[test]
fn what_is_broken_stays_as_it_was_and_the_rest_is_taken_over() {
    let (work, server) = server(&[]);
    write(&work, "r/one.yaml", "spec: [s3cr3t-broken");
    write(&work, "r/two.yaml", &store("two", "two.json"));
    until(&server, "two", "s3cr3t-2");
    assert_eq!(read(&server, "one"), "s3cr3t-1");
    server.wait_for_log("`r/one.yaml` is served as it was before");
    // A component that cannot be opened, beside one that can.
    write(&work, "r/one.yaml", &store("one", "nowhere.json"));
    write(&work, "r/three.yaml", &store("three", "one.json"));
    until(&server, "three", "s3cr3t-1");
    assert_eq!(read(&server, "one"), "s3cr3t-1");
    // And mended.
    write(&work, "r/one.yaml", &store("one", "two.json"));
    until(&server, "one", "s3cr3t-2");
    assert!(!server.log().contains("s3cr3t"), "{}", server.log());
}

#[test]
fn a_warning_about_another_component_keeps_nothing_that_has_gone() {
    let (work, server) = server(&[]);
    let odd = component("odd", "foo.bar", "[]");
    let both = format!("{odd}---\n{}", store("two", "two.json"));
    write(&work, "r/both.yaml", &both);
    until(&server, "two", "s3cr3t-2");
    write(&work, "r/both.yaml", &odd);
    until(&server, "two", UNKNOWN);
    // Nor does a type that is denied from then on.
    write(&work, "r/both.yaml", &both);
    until(&server, "two", "s3cr3t-2");
    let denied = "kind: Configuration\nspec: {components: {deny: [state.redis]}}\n";
    write(&work, "c.yaml", denied);
    write(&work, "r/both.yaml", &component("two", "state.redis", "[]"));
    until(&server, "two", UNKNOWN);
}

#[test]
fn policy_counts_whatever_is_wrong_with_documents() {
    let (work, server) = server(&[]);
    // Its problem stands in the file that has not changed.
    write(&work, "r/a.yaml", &store("one", "two.json"));
    server.wait_for_log("duplicate definition");
    let scopes =
        "kind: Configuration\nspec: {secrets: {scopes: [{storeName: one, defaultAccess: deny}]}}\n";
    write(&work, "c.yaml", scopes);
    until(&server, "one", "ERR_PERMISSION_DENIED");
}

#[test]
fn a_duplicate_that_sorts_first_holds_up_nothing_else() {
    let (work, server) = server(&[]);
    write(&work, "r/two.yaml", &store("two", "two.json"));
    until(&server, "two", "s3cr3t-2");
    // Its problem stands in the file that has not changed.
    write(&work, "r/a.yaml", &store("one", "two.json"));
    server.wait_for_log("`r/a.yaml` is served as it was before");
    write(&work, "r/three.yaml", &store("three", "one.json"));
    fs::remove_file(work.path().join("r/two.yaml")).unwrap();
    until(&server, "three", "s3cr3t-1");
    until(&server, "two", UNKNOWN);
    assert_eq!(read(&server, "one"), "s3cr3t-1");
}

#[test]
fn a_store_whose_own_reference_is_denied_goes() {
    let (work, server) = server(&[]);
    let reference = "[{name: secretsFile, secretKeyRef: {name: file, key: file}}]";
    let needy = component("two", "secretstores.local.file", reference);
    write(
        &work,
        "one.json",
        "{\"key\": \"s3cr3t-1\", \"file\": \"two.json\"}",
    );
    until(&server, "one", "s3cr3t-1");
    thread::sleep(SILENCE);
    write(
        &work,
        "r/two.yaml",
        &format!("{needy}auth: {{secretStore: one}}\n"),
    );
    until(&server, "two", "s3cr3t-2");
    let scopes = "kind: Configuration\nspec: {secrets: {scopes: [{storeName: one, deniedSecrets: [file]}]}}\n";
    write(&work, "c.yaml", scopes);
    until(&server, "two", UNKNOWN);
    assert_eq!(read(&server, "one"), "s3cr3t-1");
}

#[test]
fn what_is_optional_or_left_out_stays_as_well_where_it_breaks() {
    let (work, server) = server(&["--mode", "dapr"]);
    let optional =
        store("two", "two.json").replace("version: v1,", "version: v1, ignoreErrors: true,");
    write(&work, "r/two.yaml", &optional);
    until(&server, "two", "s3cr3t-2");
    write(
        &work,
        "r/two.yaml",
        &optional.replace("two.json", "nowhere.json"),
    );
    write(&work, "r/one.yaml", "spec: [");
    write(&work, "r/three.yaml", &store("three", "one.json"));
    until(&server, "three", "s3cr3t-1");
    assert_eq!(read(&server, "one"), "s3cr3t-1");
    assert_eq!(read(&server, "two"), "s3cr3t-2");
}

#[test]
fn the_file_of_a_store_is_read_again() {
    let (work, server) = server(&[]);
    write(&work, "one.json", "{\"key\": \"s3cr3t-3\"}");
    until(&server, "one", "s3cr3t-3");
    write(&work, "one.json", "{broken s3cr3t");
    server.wait_for_log("secret store `one`");
    assert_eq!(read(&server, "one"), "s3cr3t-3");
    write(&work, "one.json", "{\"key\": \"s3cr3t-4\"}");
    until(&server, "one", "s3cr3t-4");
    assert!(!server.log().contains("s3cr3t"), "{}", server.log());
}

#[test]
fn the_file_of_a_given_store_is_read_again() {
    let (work, server) = server(&["--store", "given=local.file:two.json"]);
    assert_eq!(read(&server, "given"), "s3cr3t-2");
    write(&work, "two.json", "{\"key\": \"s3cr3t-3\"}");
    until(&server, "given", "s3cr3t-3");
}

/// A volume of Kubernetes: files are links into a folder that a link names, which is exchanged.
#[test]
fn a_mounted_volume_is_exchanged() {
    let work = folder(&[
        ("v/1/one.yaml", store("one", "one.json").as_bytes()),
        ("v/2/one.yaml", store("one", "two.json").as_bytes()),
        ("one.json", b"{\"key\": \"s3cr3t-1\"}"),
        ("two.json", b"{\"key\": \"s3cr3t-2\"}"),
    ]);
    let volume = work.path().join("v");
    symlink("1", volume.join("..data")).unwrap();
    symlink("..data/one.yaml", volume.join("one.yaml")).unwrap();
    let server = Server::start(work.path(), &["--resources", "v"], &[]);
    assert_eq!(read(&server, "one"), "s3cr3t-1");
    symlink("2", volume.join("..new")).unwrap();
    fs::rename(volume.join("..new"), volume.join("..data")).unwrap();
    until(&server, "one", "s3cr3t-2");
}

#[test]
fn a_store_that_others_need_can_be_removed() {
    let (work, server) = server(&[]);
    let reference = "[{name: configFile, secretKeyRef: {name: key, key: key}}]";
    let items = component("cfg", "configuration.local.file", reference);
    write(&work, "two.json", "{\"key\": \"items.yaml\"}");
    write(&work, "items.yaml", "a: 1\n");
    let two = store("two", "two.json");
    write(
        &work,
        "r/cfg.yaml",
        &format!("{items}auth: {{secretStore: two}}\n---\n{two}"),
    );
    until(&server, "two", "items.yaml");
    let get = || server.ask("GET /v1.0/configuration/cfg?key=a").status;
    assert_eq!(get(), 200);
    write(
        &work,
        "r/cfg.yaml",
        &format!("{items}auth: {{secretStore: two}}\n"),
    );
    // The file that refers to it has changed and counts as it was; the store can go with another.
    server.wait_for_log("is served as it was before");
    write(&work, "r/two.yaml", &two);
    write(
        &work,
        "r/cfg.yaml",
        &format!("{items}auth: {{secretStore: two}} \n"),
    );
    server.wait_for_log("\"msg\":\"reloaded\"");
    thread::sleep(SILENCE);
    fs::remove_file(work.path().join("r/two.yaml")).unwrap();
    until(&server, "two", UNKNOWN);
    assert_eq!(get(), 200);
}

#[test]
fn scopes_and_lists_that_change_count_at_once_and_broken_ones_do_not() {
    let (work, server) = server(&[]);
    let scopes =
        "kind: Configuration\nspec: {secrets: {scopes: [{storeName: one, defaultAccess: deny}]}}\n";
    write(&work, "c.yaml", scopes);
    until(&server, "one", "ERR_PERMISSION_DENIED");
    write(
        &work,
        "c.yaml",
        "kind: Configuration\nspec: {secrets: {scope: []}}\n",
    );
    server.wait_for_log("`c.yaml` is served as it was before");
    assert_eq!(read(&server, "one"), "ERR_PERMISSION_DENIED");
    let list = "kind: Configuration\nspec: {api: {denied: [{name: secrets, version: v1, protocol: http}]}}\n";
    write(&work, "c.yaml", list);
    until(&server, "one", "ERR_DIRECT_INVOKE");
    write(&work, "c.yaml", "kind: Configuration\nspec: {}\n");
    until(&server, "one", "s3cr3t-1");
}

#[test]
fn nothing_is_watched_without_the_feature() {
    let (work, server) = server(&[]);
    let off = "kind: Configuration\nspec: {features: [{name: HotReload, enabled: false}]}\n";
    write(&work, "c.yaml", off);
    server.wait_for_log("\"msg\":\"reloaded\"");
    write(&work, "r/two.yaml", &store("two", "two.json"));
    thread::sleep(SILENCE);
    assert_eq!(read(&server, "two"), UNKNOWN);
    server.signal("HUP");
    until(&server, "two", "s3cr3t-2");
}

#[test]
fn subscriptions_follow_their_store_and_end_with_it() {
    let (work, server) = server(&[]);
    let items = |file: &str| {
        let items = format!("[{{name: configFile, value: {file}}}]");
        component("cfg", "configuration.local.file", &items)
    };
    write(&work, "a.yaml", "same: 1\na: 1\n");
    write(&work, "b.yaml", "same: 1\nb: 2\n");
    write(
        &work,
        "r/cfg.yaml",
        &format!("{}---\n{}", items("a.yaml"), store("two", "two.json")),
    );
    until(&server, "two", "s3cr3t-2");
    let request = GetItems {
        store: "cfg".to_owned(),
        keys: Vec::new(),
    };
    let method = format!("{DAPR}/SubscribeConfiguration");
    let mut stream = Stream::open(server.grpc, &method, &request, &[]);
    let first: Change = stream.receive().unwrap();
    assert!(first.items.is_empty());
    write(&work, "r/cfg.yaml", &items("b.yaml"));
    let change: Change = stream.receive().unwrap();
    let told: Vec<_> = change
        .items
        .iter()
        .map(|(key, item)| (key.as_str(), item.value.as_str()))
        .collect();
    assert_eq!(told, [("a", ""), ("b", "2")]);
    write(&work, "b.yaml", "same: 1\nb: 3\n");
    let change: Change = stream.receive().unwrap();
    assert_eq!(change.items["b"].value, "3");
    fs::remove_file(work.path().join("r/cfg.yaml")).unwrap();
    assert!(stream.receive::<Change>().is_none());
}

/// What a change may take to count.
const SOON: Duration = Duration::from_secs(1);
/// How many stores change at a time.
const STORES: usize = 20;
/// How often each does.
const ROUNDS: usize = 50;
/// How many rounds may have taken longer than they may, and were repeated, because of others of the
/// machine. None are where it is idle.
const MOST_REPEATED: usize = ROUNDS / 5;
/// How many of the stores stand in mounted volumes.
const MOUNTED: usize = 4;

/// A folder with one store, those that change in volumes, and a server of it.
fn server_of_many() -> (TempDir, Server) {
    let (work, server) = server(&[]);
    drop(server);
    for index in 0..MOUNTED {
        let volume = work.path().join(format!("v{index}"));
        fs::create_dir(&volume).unwrap();
        mount(&work, index, 0, &store(&format!("s{index}"), "one.json"));
        let link = work.path().join(format!("r/s{index}.yaml"));
        symlink(format!("../v{index}/..data/m.yaml"), link).unwrap();
    }
    let arguments = ["--resources", "r", "--config", "c.yaml"];
    let variables = [("key", "s3cr3t-env")];
    let server = Server::start(work.path(), &arguments, &variables);
    (work, server)
}

/// Exchanges what a volume holds, as the kubelet does.
fn mount(work: &TempDir, index: usize, round: usize, manifest: &str) {
    let volume = work.path().join(format!("v{index}"));
    let old = fs::read_link(volume.join("..data"));
    let new = format!("..{round}");
    fs::create_dir(volume.join(&new)).unwrap();
    fs::write(volume.join(&new).join("m.yaml"), manifest).unwrap();
    symlink(&new, volume.join("..new")).unwrap();
    fs::rename(volume.join("..new"), volume.join("..data")).unwrap();
    if let Ok(old) = old {
        fs::remove_dir_all(volume.join(old)).unwrap();
    }
}

/// What a change does to the file of a store, and what is read then.
fn change(work: &TempDir, index: usize, round: usize) -> String {
    let name = format!("s{index}");
    let path = work.path().join(format!("r/{name}.yaml"));
    let values = format!("v{index}-{round}.json");
    let value = format!("value-{index}-{round}");
    let manifest = store(&name, &values);
    write(work, &values, &format!("{{\"key\": \"{value}\"}}"));
    if index < MOUNTED {
        mount(work, index, round, &manifest);
        return value;
    }
    match (index + round) % 6 {
        0 => fs::write(&path, manifest).unwrap(),
        1 => {
            let new = work.path().join(format!("r/.{name}.new"));
            fs::write(&new, manifest).unwrap();
            fs::rename(new, &path).unwrap();
        }
        2 => {
            // As somebody writes who takes a while.
            let file = File::create(&path).unwrap();
            thread::sleep(Duration::from_millis(5));
            drop(file);
            fs::write(&path, manifest).unwrap();
        }
        3 => {
            fs::write(&path, component(&name, "secretstores.local.env", "[]")).unwrap();
            return "s3cr3t-env".to_owned();
        }
        4 => {
            drop(fs::remove_file(&path));
            return UNKNOWN.to_owned();
        }
        // Its values change alone, where it has any.
        _ => {
            fs::write(&path, store(&name, &format!("own-{index}.json"))).unwrap();
            write(
                work,
                &format!("own-{index}.json"),
                &format!("{{\"key\": \"{value}\"}}"),
            );
        }
    }
    value
}

/// Reads the store that is there throughout: over HTTP, over gRPC, and in bulk over both.
fn read_in_all_ways(server: &Server) {
    let value = "s3cr3t-1";
    assert_eq!(read(server, "one"), value);
    let reply = get(server, "one", "key", &[]);
    assert_eq!(reply.status, 0, "{reply:?}");
    assert_eq!(reply.message.unwrap().data["key"], value);
    let answer = server.ask("GET /v1.0/secrets/one/bulk");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.body, "{\"key\":{\"key\":\"s3cr3t-1\"}}\n");
    let reply = bulk(server, "one", &[]);
    assert_eq!(reply.status, 0, "{reply:?}");
    assert_eq!(reply.message.unwrap().data["key"].data["key"], value);
}

#[test]
#[expect(clippy::print_stdout, reason = "figures of the run")]
fn a_thousand_changes_under_load_each_count_within_a_second() {
    let (work, server) = server_of_many();
    let (is_over, reads) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut longest = Vec::new();
    let mut resident = Vec::new();
    let mut number = 0;
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                read_in_all_ways(&server);
                reads.fetch_add(4, Ordering::Relaxed);
            }
        });
        // Ends the reader where this thread fails.
        let _ending = Ending(&is_over);
        for _ in 0..ROUNDS {
            // All of them, from the first one's beginning on.
            let elapsed = shortest(SOON, || {
                number += 1;
                let begin = Instant::now();
                let expected: Vec<_> = (0..STORES)
                    .map(|index| change(&work, index, number))
                    .collect();
                for (index, expected) in expected.iter().enumerate() {
                    until(&server, &format!("s{index}"), expected);
                }
                begin.elapsed()
            });
            assert!(elapsed < SOON, "{elapsed:?}");
            longest.push(elapsed);
            resident.push(server.resident());
        }
    });
    longest.sort();
    let (median, most) = (longest[ROUNDS / 2], longest[ROUNDS - 1]);
    let (early, late) = (resident[ROUNDS / 5], resident[ROUNDS - 1]);
    let repeated = number - ROUNDS;
    println!(
        "{} changes under load: {STORES} at a time were read after {median:?} (median), {most:?} \
         (longest, others of the machine left out by {repeated} of {number} rounds); {} reads of \
         another store meanwhile; resident {early} KiB after a fifth, {late} KiB at the end",
        STORES * number,
        reads.load(Ordering::Relaxed),
    );
    assert!(repeated <= MOST_REPEATED, "{repeated} of {number} rounds");
    assert!(late < early + 4096, "{early} KiB, then {late} KiB");
}

#[test]
fn what_changes_all_the_time_keeps_nothing_back() {
    let (work, server) = server(&[]);
    fs::create_dir(work.path().join("d")).unwrap();
    write(&work, "d/key", "v0");
    write(&work, "r/two.yaml", &store("two", "d"));
    until(&server, "two", "v0");
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0.. {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                // Beside the values of one store, and among the documents.
                write(&work, "d/noise", &format!("{round}"));
                write(&work, "r/noise.yaml", &store("noise", &format!("{round}")));
                thread::sleep(Duration::from_millis(20));
            }
        });
        let _ending = Ending(&is_over);
        let mut round = 0;
        for _ in 0..5 {
            let elapsed = shortest(SOON * 3 / 2, || {
                round += 1;
                write(&work, "d/key", &format!("v{round}"));
                write(&work, "one.json", &format!("{{\"key\": \"o{round}\"}}"));
                let one = until(&server, "one", &format!("o{round}"));
                one + until(&server, "two", &format!("v{round}"))
            });
            assert!(elapsed < SOON * 3 / 2, "{elapsed:?}");
        }
    });
}

#[test]
fn a_file_that_comes_after_its_component_is_found() {
    let (work, server) = server(&[]);
    write(&work, "r/late.yaml", &store("late", "late.json"));
    server.wait_for_log("`r/late.yaml` is served as it was before");
    thread::sleep(SILENCE);
    assert_eq!(read(&server, "late"), UNKNOWN);
    write(&work, "late.json", "{\"key\": \"s3cr3t-late\"}");
    until(&server, "late", "s3cr3t-late");
    // It is told once what is wrong.
    let log = server.log();
    assert_eq!(
        log.matches("is served as it was before").count(),
        1,
        "{log}"
    );
    assert!(!log.contains("s3cr3t"), "{log}");
}

/// Tells others that it is over, however it ends.
struct Ending<'e>(&'e AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
