//! A guest gone wrong can do no more than a document.
//!
//! The guest here is another one than keyref's: it misbehaves as the first line of a document says
//! (`components/hostile-guest`). Whatever it does, every value that comes out is the one that its
//! origin names, and what is said of it can be printed.
#![expect(clippy::print_stdout, reason = "the figures are what is asked for")]

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use keyref::component::Origin;
use keyref::error::Class;
use keyref::guest::{Guest, GuestError};
use keyref::policy::{Policy, SecretsScope};
use keyref::problem::{Problem, Severity};
use keyref::secret::Secret;
use keyref::stores::{BulkRequest, Grants, Memory, SecretRequest, SecretStore, StoreError};
use keyref::{Context, Document, Limits, Mode, Resolution, Resolver, ResolverBuilder, Value};
use keyref_tests::components;
use keyref_tests::library::{Counting, block_on, resolve_with};
use tokio::time::Instant;

/// The references of a document that misbehaves.
const REFERENCES: &str = "vault/kafka/user\nvault/kafka/password";

fn guest() -> Guest {
    static GUEST: OnceLock<Guest> = OnceLock::new();
    let compiled =
        GUEST.get_or_init(|| Guest::from_component(components::hostile_guest()).unwrap());
    compiled.clone()
}

/// Secrets whose values name them.
fn secrets() -> Memory {
    Memory::new()
        .with(
            "kafka",
            [("user", "kafka/user"), ("password", "kafka/password")],
        )
        .with(
            "redis",
            [("user", "redis/user"), ("password", "redis/password")],
        )
        .with("root", [("token", "root/token")])
}

fn builder() -> ResolverBuilder {
    Resolver::builder().guest(guest()).store("vault", secrets())
}

fn quick() -> Limits {
    let mut limits = Limits::default();
    limits.time = Duration::from_millis(200);
    limits
}

fn honest(name: &str, reference: &str) -> Document {
    Document::new(name, format!("#honest {name}\n{reference}"))
}

/// A document that misbehaves, between two that do not.
fn among_neighbours(misbehaviour: &str) -> Vec<Document> {
    vec![
        honest("before", "vault/redis/user"),
        Document::new("hostile", format!("#{misbehaviour}\n{REFERENCES}")),
        honest("after", "vault/redis/password"),
    ]
}

/// Resolves documents; what comes out is checked for what must hold whatever the guest does.
fn resolve(resolver: &Resolver, documents: Vec<Document>) -> Resolution {
    let resolution = resolve_with(resolver, documents, &Context::new());
    assert_true(&resolution);
    assert_printable(&resolution.problems);
    resolution
}

/// Every value is the one that its origin names.
fn assert_true(resolution: &Resolution) {
    for component in &resolution.components {
        for property in &component.properties {
            let said = (&component.component.name, &property.name);
            match (&property.value, &property.origin) {
                (Value::Plain(_), None) => {}
                (Value::Secret(value), Some(Origin::Secret { secret, key, .. })) => {
                    assert_eq!(
                        value.reveal_text(),
                        Ok(format!("{secret}/{key}").as_str()),
                        "{said:?}"
                    );
                }
                other => panic!("{said:?} is {other:?}"),
            }
        }
    }
}

fn assert_printable(problems: &[Problem]) {
    for problem in problems {
        for text in [&problem.message, &problem.hint] {
            let harmful = text.chars().find(|&character| {
                character.is_control()
                    || matches!(character, '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
            });
            assert_eq!(harmful, None, "{text:?}");
        }
    }
}

fn names(resolution: &Resolution) -> Vec<&str> {
    let components = resolution.components.iter();
    components
        .map(|component| component.component.name.as_str())
        .collect()
}

/// The one problem of a document that misbehaves: its neighbours are resolved, and it is not.
fn refusal_with(builder: ResolverBuilder, misbehaviour: &str) -> Problem {
    let resolver = builder.build().unwrap();
    let resolution = resolve(&resolver, among_neighbours(misbehaviour));
    assert_eq!(
        names(&resolution),
        ["before", "after"],
        "{misbehaviour}: {:?}",
        resolution.problems
    );
    let [problem] = resolution.problems.as_slice() else {
        panic!("{misbehaviour}: {:?}", resolution.problems);
    };
    assert_eq!(problem.severity, Severity::Error, "{misbehaviour}");
    let place = problem.place.as_ref().unwrap();
    assert_eq!(&*place.document, "hostile", "{misbehaviour}");
    assert!(!problem.message.is_empty(), "{misbehaviour}");
    problem.clone()
}

fn refusal(misbehaviour: &str) -> Problem {
    refusal_with(builder(), misbehaviour)
}

/// The neighbours are resolved; the other is refused as a defect of the guest.
fn assert_refused(misbehaviours: &[&str]) {
    for misbehaviour in misbehaviours {
        assert_eq!(
            refusal(misbehaviour).class,
            Class::Internal,
            "{misbehaviour}"
        );
    }
}

#[test]
fn another_implementation_of_the_world_is_a_guest() {
    let resolver = builder().build().unwrap();
    let resolution = resolve(&resolver, among_neighbours("honest"));
    assert!(resolution.problems.is_empty(), "{:?}", resolution.problems);
    assert_eq!(names(&resolution), ["before", "honest", "after"]);
    assert_eq!(resolution.components[1].properties.len(), 3);
}

#[test]
fn what_does_not_implement_the_world_is_no_guest() {
    let unusable = |component: &[u8]| Guest::from_component(component).unwrap_err();
    assert_eq!(unusable(components::static_store()), GuestError::Unusable);
    assert_eq!(unusable(b"\0asm"), GuestError::Unusable);
    assert_eq!(unusable(b""), GuestError::Unusable);
}

#[test]
fn a_denied_secret_is_never_fetched() {
    let scope = SecretsScope::new("vault").deny("root");
    let policy = Policy::open().with_scope(scope).unwrap();
    for mode in [Mode::Strict, Mode::Dapr] {
        for misbehaviour in ["honest", "swap", "forge", "unrequested", "endless-get-many"] {
            let store = Counting::new(secrets());
            let resolver = Resolver::builder()
                .guest(guest())
                .shared_store("vault", Arc::new(store.clone()))
                .policy(policy.clone())
                .mode(mode)
                .limits(quick())
                .build()
                .unwrap();
            let text = format!("#{misbehaviour}\nvault/root/token\nvault/kafka/user");
            let documents = vec![Document::new("hostile", text)];
            let resolution = resolve_with(&resolver, documents, &Context::new());
            assert_eq!(store.asked().get("root"), None, "{misbehaviour}");
            assert!(!holds(&resolution, "root/token"), "{misbehaviour}");
            assert!(!resolution.problems.is_empty(), "{misbehaviour}");
        }
    }
}

/// Whether any component holds a value.
fn holds(resolution: &Resolution, wanted: &str) -> bool {
    let mut properties = resolution
        .components
        .iter()
        .flat_map(|component| &component.properties);
    properties.any(|property| match &property.value {
        Value::Secret(value) => value.reveal() == wanted.as_bytes(),
        Value::Plain(text) => text == wanted,
        _ => false,
    })
}

#[test]
fn a_secret_that_no_document_asks_for_is_neither_fetched_nor_given() {
    let store = Counting::new(secrets());
    let resolver = Resolver::builder()
        .guest(guest())
        .shared_store("vault", Arc::new(store.clone()))
        .build()
        .unwrap();
    let hostile = || vec![Document::new("hostile", "#unrequested\nvault/kafka/user")];
    let resolution = resolve_with(&resolver, hostile(), &Context::new());
    assert_eq!(store.asked().get("root"), None);
    assert!(!holds(&resolution, "root/token"));
    // Nor does it help that another caller has just asked for it.
    let context = Context::new();
    let (other, resolution) = block_on(async {
        let other = vec![honest("other", "vault/root/token")];
        tokio::join!(
            resolver.resolve(other, &context),
            resolver.resolve(hostile(), &context)
        )
    });
    assert!(holds(&other, "root/token"));
    assert!(!holds(&resolution, "root/token"));
}

#[test]
fn what_a_guest_remembers_of_one_caller_the_next_does_not_find() {
    let resolver = builder().build().unwrap();
    for _ in 0..3 {
        let resolution = resolve(&resolver, among_neighbours("honest"));
        for component in &resolution.components {
            let sets = &component.property("sets").unwrap().value;
            assert!(
                matches!(sets, Value::Plain(sets) if sets == "0"),
                "{sets:?}"
            );
        }
    }
}

/// A store whose secrets differ by namespace, and which remembers for which it was asked.
#[derive(Clone, Debug, Default)]
struct Namespaced {
    asked: Arc<Mutex<Vec<(String, String)>>>,
}

#[async_trait]
impl SecretStore for Namespaced {
    async fn get(
        &self,
        request: &SecretRequest,
        context: &Context,
    ) -> Result<Option<Secret>, StoreError> {
        let caller = context.caller.clone().unwrap_or_default();
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.push((caller, request.namespace.clone()));
        Ok(Some(
            [("key", request.namespace.as_str())].into_iter().collect(),
        ))
    }

    async fn bulk(
        &self,
        _: &BulkRequest,
        _: &Context,
    ) -> Result<BTreeMap<String, Secret>, StoreError> {
        Ok(BTreeMap::new())
    }

    fn is_namespaced(&self) -> bool {
        true
    }
}

#[test]
fn nothing_of_another_callers_namespace_is_reachable() {
    let store = Namespaced::default();
    let resolver = Resolver::builder()
        .guest(guest())
        .store("vault", store.clone())
        .build()
        .unwrap();
    let context = |name: &str| Context::new().with_caller(name).with_namespace(name);
    let (a, b) = (context("a"), context("b"));
    let ours = || vec![honest("ours", "vault/secret/key")];
    let theirs = |misbehaviour: &str| {
        let text = format!("#{misbehaviour}\nvault/secret/key\nvault/secret/key@a");
        vec![Document::new("theirs", text)]
    };
    for misbehaviour in [
        "honest",
        "swap",
        "forge",
        "nothing",
        "invented-handle",
        "repeat-handle",
    ] {
        let (first, second) = block_on(async {
            tokio::join!(
                resolver.resolve(ours(), &a),
                resolver.resolve(theirs(misbehaviour), &b)
            )
        });
        assert!(holds(&first, "a"), "{misbehaviour}: {:?}", first.problems);
        assert!(!holds(&second, "a"), "{misbehaviour}");
        assert!(!second.problems.is_empty(), "{misbehaviour}");
        assert_printable(&second.problems);
    }
    let asked = store.asked.lock().unwrap();
    assert!(
        asked.iter().all(|(caller, namespace)| caller == namespace),
        "{asked:?}"
    );
}

#[test]
fn handles_of_one_call_mean_nothing_in_the_next() {
    let resolver = builder().build().unwrap();
    let first = resolve(&resolver, vec![honest("first", "vault/root/token")]);
    assert!(holds(&first, "root/token"));
    for misbehaviour in ["invented-handle", "repeat-handle", "answer-out-of-range"] {
        let text = format!("#{misbehaviour}\n{REFERENCES}");
        let second = resolve(&resolver, vec![Document::new("hostile", text)]);
        assert!(!holds(&second, "root/token"), "{misbehaviour}");
        assert!(!second.is_complete(), "{misbehaviour}");
    }
}

#[test]
fn a_trap_in_one_document_leaves_its_neighbours_resolved() {
    assert_refused(&["trap-in-parse", "trap-in-resolve"]);
}

#[test]
fn a_trap_among_many_documents_leaves_all_others_resolved() {
    const NEIGHBOURS: usize = 300;
    for misbehaviour in ["trap-in-parse", "trap-in-resolve"] {
        let resolver = builder().build().unwrap();
        let neighbours =
            (0..NEIGHBOURS).map(|index| honest(&format!("n{index}"), "vault/redis/user"));
        let mut documents: Vec<_> = neighbours.collect();
        documents.insert(
            40,
            Document::new("hostile", format!("#{misbehaviour}\n{REFERENCES}")),
        );
        let resolution = resolve(&resolver, documents);
        let resolved = resolution.components.len();
        let problems: Vec<_> = resolution
            .problems
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            resolved,
            NEIGHBOURS,
            "{misbehaviour}: {} {:?}",
            problems.len(),
            problems.last()
        );
        assert_eq!(problems.len(), 1, "{misbehaviour}");
    }
}

#[test]
fn an_index_that_does_not_exist_is_refused() {
    assert_refused(&[
        "answer-out-of-range",
        "component-out-of-range",
        "document-out-of-range",
        "index-out-of-range",
        "item-out-of-range",
        "problem-without-document",
        "request-out-of-range",
    ]);
}

#[test]
fn a_place_that_was_not_asked_for_is_refused() {
    assert_refused(&[
        "plain-item",
        "repeat-component",
        "repeat-index",
        "wrong-component-index",
    ]);
}

#[test]
fn a_place_that_is_left_out_is_refused() {
    for misbehaviour in ["leave-out", "leave-out-component"] {
        let resolver = builder().build().unwrap();
        let resolution = resolve(&resolver, among_neighbours(misbehaviour));
        assert_eq!(names(&resolution), ["before", "after"], "{misbehaviour}");
        // One for each reference that has no value.
        let classes: Vec<_> = resolution
            .problems
            .iter()
            .map(|problem| problem.class)
            .collect();
        assert_eq!(classes, [Class::Internal; 2], "{misbehaviour}");
    }
    assert_refused(&["leave-out-answers"]);
}

#[test]
fn a_handle_that_was_not_given_is_refused() {
    assert_refused(&["invented-handle", "repeat-handle"]);
}

#[test]
fn a_secret_in_the_place_of_another_is_refused() {
    assert_refused(&["swap"]);
    let resolver = builder().build().unwrap();
    let resolution = resolve(&resolver, among_neighbours("swap-with-neighbour"));
    assert!(
        names(&resolution).ends_with(&["after"]),
        "{:?}",
        resolution.problems
    );
}

#[test]
fn a_text_in_the_place_of_a_secret_is_refused() {
    assert_refused(&["forge"]);
}

#[test]
fn a_place_without_any_part_is_no_empty_secret() {
    assert_refused(&["nothing"]);
}

#[test]
fn a_position_that_does_not_exist_does_no_harm() {
    let resolver = builder().build().unwrap();
    let mut documents = among_neighbours("position-out-of-range");
    let text = "#position-out-of-range again\nvault/none/key".to_owned();
    documents.push(Document::new("absent", text));
    let resolution = resolve(&resolver, documents);
    assert_eq!(
        names(&resolution),
        ["before", "position-out-of-range", "after"]
    );
    assert_eq!(resolution.problems.len(), 1);
    assert_eq!(resolution.problems[0].class, Class::SecretAbsent);
}

#[test]
fn a_loop_ends_within_the_time_limit() {
    for misbehaviour in ["loop", "loop-in-resolve"] {
        let begin = Instant::now();
        let problem = refusal_with(builder().limits(quick()), misbehaviour);
        // Once with its neighbours, and once alone.
        assert!(
            begin.elapsed() < Duration::from_millis(900),
            "{misbehaviour}: {:?}",
            begin.elapsed()
        );
        assert_eq!(problem.class, Class::DocumentLimit, "{misbehaviour}");
        assert!(
            problem.message.contains("time"),
            "{misbehaviour}: {}",
            problem.message
        );
    }
}

#[test]
fn a_loop_does_not_hold_the_callers_thread() {
    let resolver = builder().limits(quick()).build().unwrap();
    let longest = block_on(async {
        let pause = async {
            let (mut longest, mut last) = (Duration::ZERO, Instant::now());
            for _ in 0..100 {
                tokio::time::sleep(Duration::from_millis(5)).await;
                longest = longest.max(last.elapsed());
                last = Instant::now();
            }
            longest
        };
        let context = Context::new();
        tokio::join!(resolver.resolve(among_neighbours("loop"), &context), pause).1
    });
    assert!(
        longest < Duration::from_millis(100),
        "nothing else ran for {longest:?}"
    );
}

#[test]
fn waiting_for_a_turn_ends_at_the_deadline() {
    let resolver = builder().build().unwrap();
    let late = block_on(async {
        // More than can be at work at a time.
        let loops = [(); 128].map(|()| {
            let resolver = resolver.clone();
            let work = async move {
                resolver
                    .resolve(among_neighbours("loop"), &Context::new())
                    .await
            };
            tokio::spawn(work)
        });
        tokio::time::sleep(Duration::from_millis(50)).await;
        let hurried = Context::new().with_timeout(Duration::from_millis(50));
        let documents = vec![honest("late", "vault/redis/user")];
        let late = resolver.resolve(documents, &hurried).await;
        assert!(loops.iter().all(|task| !task.is_finished()));
        late
    });
    assert_eq!(names(&late), Vec::<&str>::new());
    let [problem] = late.problems.as_slice() else {
        panic!("{:?}", late.problems);
    };
    assert_eq!(problem.class, Class::TimedOut);
    assert!(problem.message.contains("deadline"), "{}", problem.message);
}

#[test]
fn documents_that_all_loop_end_together() {
    let resolver = builder().build().unwrap();
    let documents = || (0..2_000).map(|index| Document::new(format!("{index}"), "#loop"));
    let run = || {
        let begin = Instant::now();
        let resolution = resolve(&resolver, documents().collect());
        assert_eq!(resolution.problems.len(), 2_000);
        begin.elapsed()
    };
    // The fastest of three where one was not fast enough: others may use the machine meanwhile.
    let limit = Duration::from_secs(2);
    let elapsed = (0..3).map(|_| run()).find(|elapsed| *elapsed < limit);
    println!("2000 documents that loop take {elapsed:?}");
    assert!(elapsed.is_some(), "three times more than {limit:?}");
}

#[test]
fn endless_requests_end_at_a_limit() {
    for misbehaviour in ["endless-get-many", "huge-get-many"] {
        let mut limits = Limits::default();
        limits.handles = 10_000;
        let problem = refusal_with(builder().limits(limits), misbehaviour);
        assert_eq!(problem.class, Class::DocumentLimit, "{misbehaviour}");
        let limits = ["handles", "the size of an answer"];
        assert!(
            limits.iter().any(|limit| problem.message.contains(limit)),
            "{misbehaviour}: {}",
            problem.message
        );
    }
}

#[test]
fn endless_recursion_ends_at_the_limit_on_depth() {
    let problem = refusal("recurse");
    assert_eq!(problem.class, Class::DocumentLimit);
    assert!(problem.message.contains("depth"), "{}", problem.message);
}

#[test]
fn endless_growth_ends_at_the_limit_on_memory() {
    let problem = refusal("grow-memory");
    assert_eq!(problem.class, Class::DocumentLimit);
    assert!(problem.message.contains("memory"), "{}", problem.message);
}

#[test]
fn an_endless_answer_ends_at_a_limit() {
    let problem = refusal("endless-answer");
    assert_eq!(problem.class, Class::DocumentLimit, "{}", problem.message);
}

#[test]
fn no_message_holds_what_a_terminal_would_obey() {
    const ESCAPES: &str = "\u{1b}[31m\u{202e}\u{9b}2J";
    let texts = [
        "#terminal-escapes a\nvault/kafka/user".to_owned(),
        // Twice, so that its name clashes.
        "#terminal-escapes a\nvault/kafka/user".to_owned(),
        "#terminal-escapes-in-store b\nvault/kafka/user".to_owned(),
        "#terminal-escapes-in-store c\nvault/none/user".to_owned(),
        format!("#honest d\nvault/{ESCAPES}/user"),
        format!("#honest e\nvault/kafka/{ESCAPES}"),
        format!("#honest f\n{ESCAPES}/kafka/user"),
        format!("#honest g\nvault/kafka/user@{ESCAPES}"),
        format!("#honest h\n${ESCAPES}"),
        format!("#honest i\nvault/root{ESCAPES}/user"),
        // A store that stands in the documents has a name of the guest's.
        format!("#honest j\nb{ESCAPES}/kafka/user"),
        format!("#forge {ESCAPES}\nvault/kafka/user"),
        format!("#trap-in-resolve {ESCAPES}\nvault/kafka/user"),
    ];
    let scope = SecretsScope::new("vault").deny(format!("root{ESCAPES}"));
    let policy = Policy::open().with_scope(scope).unwrap();
    for mode in [Mode::Strict, Mode::Dapr] {
        for (index, text) in texts.iter().enumerate() {
            let resolver = builder()
                .store("namespaced", Namespaced::default())
                .policy(policy.clone())
                .mode(mode)
                .allow_document_stores(Grants::none().kind("secretstores.local.env"))
                .build()
                .unwrap();
            let documents = vec![
                Document::new("one", text.as_bytes()),
                Document::new("two", texts[index.saturating_sub(1)].as_bytes()),
            ];
            let context = Context::new();
            let inspection = block_on(resolver.inspect(documents.clone(), &context));
            assert_printable(&inspection.problems);
            for component in &inspection.components {
                for reference in &component.references {
                    let refusal = reference.refusal.as_ref();
                    let refusal = refusal
                        .map(|error| Problem::new(error.class, None, &error.message, &error.hint));
                    assert_printable(refusal.as_slice());
                }
            }
            let resolution = resolve_with(&resolver, documents, &context);
            assert_printable(&resolution.problems);
        }
    }
}

#[test]
fn names_of_documents_in_messages_obey_the_same_rule() {
    let resolver = builder().build().unwrap();
    let name = "a\u{1b}[31m\u{202e}.yaml";
    let resolution = resolve_with(
        &resolver,
        vec![Document::new(name, "#trap-in-parse")],
        &Context::new(),
    );
    let [problem] = resolution.problems.as_slice() else {
        panic!("{:?}", resolution.problems);
    };
    let printed = problem.to_string();
    assert!(!printed.contains(['\u{1b}', '\u{202e}']), "{printed:?}");
}

#[test]
fn resolvers_that_share_a_guest_do_not_take_its_instances_from_each_other() {
    let documents = |name: &str| {
        let documents =
            (0..18_000).map(|index| honest(&format!("{name}{index}"), "vault/redis/user"));
        documents.collect::<Vec<_>>()
    };
    let (one, two) = (builder().build().unwrap(), builder().build().unwrap());
    let context = Context::new();
    let (first, second) = block_on(async {
        tokio::join!(
            one.resolve(documents("a"), &context),
            two.resolve(documents("b"), &context)
        )
    });
    for resolution in [first, second] {
        assert!(
            resolution.is_complete(),
            "{:?}",
            resolution.problems.first()
        );
        assert_eq!(resolution.components.len(), 18_000);
    }
}

/// What the answers of a hostile guest cost, in a process of its own.
#[test]
fn huge_answers_take_bounded_memory() {
    let child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "many_documents_with_huge_answers",
            "--ignored",
            "--nocapture",
        ])
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success(), "{output}");
    let peak = output
        .lines()
        .find_map(|line| line.split_once("peak ")?.1.parse::<u64>().ok());
    let mebibytes = peak.unwrap() / 1024;
    println!("{mebibytes} MiB for the answers to 24 documents");
    assert!(mebibytes < 256, "{mebibytes} MiB");
}

#[test]
#[ignore = "run by `huge_answers_take_bounded_memory` in a process of its own"]
fn many_documents_with_huge_answers() {
    // Memory is what is measured: time is no matter, whatever else the machine does.
    let mut limits = Limits::default();
    limits.time = Duration::from_secs(10);
    let resolver = builder().limits(limits).build().unwrap();
    resolve(&resolver, vec![honest("warm", "vault/redis/user")]);
    // Each in a batch of its own.
    let filler = "\n".repeat(600 << 10);
    let mut documents: Vec<_> = (0..24)
        .map(|index| Document::new("hostile", format!("#huge-answer h{index}{filler}")))
        .collect();
    documents.push(honest("after", "vault/redis/password"));
    let before = status("VmRSS:");
    let resolution = resolve(&resolver, documents);
    println!("peak {}", status("VmHWM:").saturating_sub(before));
    assert!(
        names(&resolution).contains(&"after"),
        "{:?}",
        resolution.problems.last()
    );
}

/// A line of what Linux says of this process, in KiB.
fn status(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(field))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
