//! What stores have said, kept for a while: for how long, and what it is worth where a store cannot
//! be reached.

use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use keyref::cache::CacheStats;
use keyref::error::{Class, SecretError};
use keyref::policy::{Policy, SecretsScope};
use keyref::secret::Secret;
use keyref::stores::{Grants, Memory, SecretRequest};
use keyref::{Cache, CacheRule, Context, Document, Earlier, Resolver, ResolverBuilder};
use keyref_tests::folder;
use keyref_tests::library::{Counting, Mood, Moody};
use tokio::time::{Instant, advance};

const TTL: Duration = Duration::from_secs(100);
const NEGATIVE: Duration = Duration::from_secs(10);
const STALE: Duration = Duration::from_secs(1_000);
const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);

fn rule() -> CacheRule {
    CacheRule::new(TTL)
        .with_negative_ttl(NEGATIVE)
        .with_stale(STALE)
}

/// A resolver over one store, with a rule for it.
fn resolver(store: &Moody, rule: CacheRule) -> Resolver {
    with_cache(store, Cache::new([("vault", rule)]))
}

fn with_cache(store: &Moody, cache: Cache) -> Resolver {
    let store = Arc::new(store.clone());
    let builder = Resolver::builder().shared_store("vault", store);
    builder.cache(cache).build().unwrap()
}

async fn get(resolver: &Resolver, name: &str) -> Result<Secret, SecretError> {
    get_of(resolver, "vault", name, &Context::new()).await
}

async fn get_of(
    resolver: &Resolver,
    store: &str,
    name: &str,
    context: &Context,
) -> Result<Secret, SecretError> {
    let request = SecretRequest::new(name);
    resolver.get(store, request, context).await
}

async fn class(resolver: &Resolver, name: &str) -> Class {
    get(resolver, name).await.unwrap_err().class
}

/// Counts, without what is kept now.
fn counts(resolver: &Resolver) -> [u64; 4] {
    let CacheStats {
        hits,
        negative_hits,
        misses,
        stale,
        ..
    } = resolver.cache().stats();
    [hits, negative_hits, misses, stale]
}

#[tokio::test(start_paused = true)]
async fn without_a_rule_each_read_asks_the_store() {
    let store = Moody::default();
    let resolvers = [
        with_cache(&store, Cache::default()),
        with_cache(&store, Cache::new([("other", rule())])),
        with_cache(
            &store,
            Cache::new([("vault", CacheRule::default()), ("*", rule())]),
        ),
    ];
    for resolver in resolvers {
        let before = store.calls();
        for _ in 0..3 {
            assert!(!get(&resolver, "s").await.unwrap().is_stale());
        }
        assert_eq!(store.calls(), before + 3);
        assert_eq!(resolver.cache().stats(), CacheStats::default());
    }
}

#[tokio::test(start_paused = true)]
async fn a_value_is_kept_for_its_time_and_no_longer() {
    let store = Moody::default();
    let resolver = with_cache(&store, Cache::new([("*", CacheRule::new(TTL))]));
    for _ in 0..10 {
        get(&resolver, "s").await.unwrap();
    }
    advance((TTL * 9 / 10).saturating_sub(MILLISECOND)).await;
    get(&resolver, "s").await.unwrap();
    assert_eq!(store.calls(), 1);
    assert_eq!(counts(&resolver), [10, 0, 1, 0]);
    assert_eq!(resolver.backend_calls(), 1);
    advance(TTL * 2 / 10 + MILLISECOND * 2).await;
    get(&resolver, "s").await.unwrap();
    assert_eq!(store.calls(), 2);
    // Each request that differs is a secret of its own.
    let mut request = SecretRequest::new("s");
    request.options = vec![("version_id".to_owned(), "1".to_owned())];
    resolver
        .get("vault", request, &Context::new())
        .await
        .unwrap();
    assert_eq!(store.calls(), 3);
    // What a run takes from the cache is no backend call.
    assert_eq!(resolver.backend_calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_is_read_at_one_time_runs_out_at_many() {
    let store = Moody::default();
    let resolver = resolver(&store, CacheRule::new(TTL));
    let names: Vec<_> = (0..1_000).map(|index| format!("s{index}")).collect();
    for name in &names {
        get(&resolver, name).await.unwrap();
    }
    let begin = Instant::now();
    let mut asked = Vec::new();
    while begin.elapsed() <= TTL * 11 / 10 {
        let before = store.calls();
        for name in &names {
            get(&resolver, name).await.unwrap();
        }
        asked.push((begin.elapsed(), store.calls() - before));
        advance(SECOND).await;
    }
    let in_time = |(time, asked): &&(Duration, usize)| *asked > 0 && *time < TTL * 9 / 10;
    assert_eq!(asked.iter().filter(in_time).count(), 0, "{asked:?}");
    assert_eq!(asked.iter().map(|(_, asked)| asked).sum::<usize>(), 1_000);
    // About 50 in each of twenty seconds.
    let most = asked.iter().map(|(_, asked)| *asked).max().unwrap();
    assert!(most < 150, "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn a_hundred_readers_of_what_is_not_kept_ask_once() {
    let store = Moody::default();
    let resolver = resolver(&store, rule());
    store.set(Mood::Slow(SECOND));
    for expected in 1..=2 {
        let reads = (0..100).map(|_| {
            let resolver = resolver.clone();
            tokio::spawn(async move { get(&resolver, "s").await.map(|found| found.is_stale()) })
        });
        for read in reads.collect::<Vec<_>>() {
            assert_eq!(read.await.unwrap(), Ok(false));
        }
        assert_eq!(store.calls(), expected);
        advance(TTL * 11 / 10).await;
    }
}

#[tokio::test(start_paused = true)]
async fn that_a_secret_does_not_exist_is_known_for_a_time_of_its_own() {
    let store = Moody::default();
    store.set(Mood::Absent);
    let known = resolver(&store, rule());
    for _ in 0..5 {
        assert_eq!(class(&known, "s").await, Class::SecretAbsent);
    }
    assert_eq!(store.calls(), 1);
    assert_eq!(counts(&known), [0, 4, 1, 0]);
    store.set(Mood::Well);
    advance(NEGATIVE * 11 / 10 + MILLISECOND).await;
    get(&known, "s").await.unwrap();
    assert_eq!(store.calls(), 2);
    // Without such a time it is asked each time, and a value that was there is gone.
    let unknown = resolver(&store, CacheRule::new(TTL).with_stale(STALE));
    get(&unknown, "s").await.unwrap();
    advance(TTL * 2).await;
    store.set(Mood::Absent);
    for expected in 4..7 {
        assert_eq!(class(&unknown, "s").await, Class::SecretAbsent);
        assert_eq!(store.calls(), expected);
    }
    store.set(Mood::Fails(Class::Unreachable));
    assert_eq!(class(&unknown, "s").await, Class::Unreachable);
    assert_eq!(unknown.cache().stats().entries, 0);
}

#[tokio::test(start_paused = true)]
async fn what_was_absent_is_not_given_out_after_its_time() {
    let store = Moody::default();
    store.set(Mood::Absent);
    let resolver = resolver(&store, rule());
    assert_eq!(class(&resolver, "s").await, Class::SecretAbsent);
    advance(NEGATIVE * 2).await;
    store.set(Mood::Fails(Class::Unreachable));
    assert_eq!(class(&resolver, "s").await, Class::Unreachable);
}

#[tokio::test(start_paused = true)]
async fn the_last_value_serves_while_the_store_cannot_be_reached_and_until_its_bound() {
    for failing in [Class::Unreachable, Class::TimedOut, Class::Throttled] {
        let store = Moody::default();
        let resolver = resolver(&store, rule());
        get(&resolver, "s").await.unwrap();
        store.set(Mood::Fails(failing));
        advance((TTL * 9 / 10).saturating_sub(MILLISECOND)).await;
        assert!(!get(&resolver, "s").await.unwrap().is_stale());
        advance(TTL * 2 / 10 + MILLISECOND).await;
        for _ in 0..10 {
            assert!(get(&resolver, "s").await.unwrap().is_stale());
        }
        // What fails is left alone for a second.
        assert_eq!(store.calls(), 2);
        advance(SECOND).await;
        assert!(get(&resolver, "s").await.unwrap().is_stale());
        assert_eq!(store.calls(), 3);
        assert_eq!(counts(&resolver), [1, 0, 3, 11]);
        // What was never read has no last value.
        assert_eq!(class(&resolver, "t").await, failing);
        advance(STALE.saturating_sub(TTL * 2 / 10 + SECOND * 2)).await;
        assert!(get(&resolver, "s").await.unwrap().is_stale());
        advance(TTL * 2 / 10 + SECOND * 2).await;
        assert_eq!(class(&resolver, "s").await, failing);
        store.set(Mood::Well);
        assert!(!get(&resolver, "s").await.unwrap().is_stale());
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_store_refuses_counts_at_once_and_for_good() {
    for refusing in [
        Class::BackendDenied,
        Class::StoreMisconfigured,
        Class::Internal,
    ] {
        let store = Moody::default();
        let resolver = resolver(&store, rule());
        get(&resolver, "s").await.unwrap();
        advance(TTL * 2).await;
        store.set(Mood::Fails(refusing));
        assert_eq!(class(&resolver, "s").await, refusing);
        store.set(Mood::Fails(Class::Unreachable));
        assert_eq!(class(&resolver, "s").await, Class::Unreachable);
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_back_is_heard_within_a_second() {
    let store = Moody::default();
    let resolver = resolver(&store, rule());
    get(&resolver, "s").await.unwrap();
    advance(TTL * 2).await;
    store.set(Mood::Fails(Class::Unreachable));
    assert!(get(&resolver, "s").await.unwrap().is_stale());
    store.set(Mood::Well);
    advance(SECOND).await;
    assert!(!get(&resolver, "s").await.unwrap().is_stale());
    assert!(!get(&resolver, "s").await.unwrap().is_stale());
    assert_eq!(store.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_is_waited_for_once_and_briefly() {
    let store = Moody::default();
    let resolver = resolver(&store, rule());
    get(&resolver, "s").await.unwrap();
    advance(TTL * 2).await;
    store.set(Mood::Hangs);
    let begin = Instant::now();
    assert!(get(&resolver, "s").await.unwrap().is_stale());
    let waited = begin.elapsed();
    assert!(
        waited >= SECOND * 2 && waited < SECOND * 21 / 10,
        "{waited:?}"
    );
    for _ in 0..100 {
        assert!(get(&resolver, "s").await.unwrap().is_stale());
    }
    assert_eq!(begin.elapsed(), waited);
    // One asks again, the others need not wait.
    advance(SECOND).await;
    let again = tokio::spawn({
        let resolver = resolver.clone();
        async move { get(&resolver, "s").await.unwrap().is_stale() }
    });
    tokio::task::yield_now().await;
    assert!(get(&resolver, "s").await.unwrap().is_stale());
    assert_eq!(begin.elapsed(), waited + SECOND);
    assert!(again.await.unwrap());
    // The question that hangs is given up, even while others wait for it in turns.
    for _ in 0..20 {
        advance(SECOND).await;
        assert!(get(&resolver, "s").await.unwrap().is_stale());
    }
    store.set(Mood::Well);
    let begin = Instant::now();
    while get(&resolver, "s").await.unwrap().is_stale() {
        advance(SECOND).await;
        assert!(begin.elapsed() < SECOND * 40, "it is never asked again");
    }
}

#[tokio::test(start_paused = true)]
async fn a_callers_deadline_leaves_time_for_the_last_value() {
    let store = Moody::default();
    let resolver = resolver(&store, rule());
    get(&resolver, "s").await.unwrap();
    advance(TTL * 2).await;
    store.set(Mood::Hangs);
    for timeout in [SECOND, MILLISECOND * 20, Duration::ZERO] {
        let context = Context::new().with_timeout(timeout);
        let found = get_of(&resolver, "vault", "s", &context).await;
        assert!(found.unwrap().is_stale(), "{timeout:?}");
        advance(SECOND * 2).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_slow_is_heard_although_nobody_waited() {
    let store = Moody::default();
    let resolver = resolver(&store, rule());
    get(&resolver, "s").await.unwrap();
    advance(TTL * 2).await;
    store.set(Mood::Slow(SECOND * 5));
    assert!(get(&resolver, "s").await.unwrap().is_stale());
    tokio::time::sleep(SECOND * 4).await;
    assert!(!get(&resolver, "s").await.unwrap().is_stale());
    assert_eq!(store.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_value_whose_bound_ends_meanwhile_is_not_given_out() {
    let store = Moody::default();
    let resolver = resolver(&store, CacheRule::new(Duration::ZERO).with_stale(SECOND));
    get(&resolver, "s").await.unwrap();
    store.set(Mood::Slow(SECOND * 5));
    // The store answers after that bound, and well within the caller's own time.
    assert!(!get(&resolver, "s").await.unwrap().is_stale());
    assert_eq!(store.calls(), 2);
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_logged_once_and_so_is_its_end() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::INFO)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let store = Moody::default();
    let resolver = resolver(&store, rule());
    for _ in 0..2 {
        store.set(Mood::Well);
        for name in ["s", "t"] {
            get(&resolver, name).await.unwrap();
        }
        advance(TTL * 2).await;
        store.set(Mood::Fails(Class::Unreachable));
        for name in ["s", "t", "s", "t"] {
            assert!(get(&resolver, name).await.unwrap().is_stale());
            advance(SECOND).await;
        }
    }
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert_eq!(log.matches("cannot be reached").count(), 2, "{log}");
    assert_eq!(log.matches("answers again").count(), 1, "{log}");
    assert!(log.contains("vault") && !log.contains("s3cr3t"), "{log}");
}

/// A store of a file that a document declares.
fn declared(work: &Path) -> Vec<Document> {
    let manifest = format!(
        "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {{name: vault}}\nspec:\n  type: \
         secretstores.local.file\n  version: v1\n  metadata:\n  - {{name: secretsFile, value: {}}}\n",
        work.join("s.json").display()
    );
    vec![Document::new("s.yaml", manifest)]
}

fn over_documents(cache: &Cache) -> ResolverBuilder {
    let grants = Grants::all();
    let builder = Resolver::builder().allow_document_stores(grants);
    builder.cache(cache.clone())
}

async fn since(builder: ResolverBuilder, work: &Path, earlier: &Earlier) -> Resolver {
    let base = builder.build().unwrap();
    let context = Context::new();
    let opening = base.with_stores_since(declared(work), &context, earlier);
    let (resolver, problems) = opening.await;
    assert!(problems.is_empty(), "{problems:?}");
    resolver
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_taken_over_keeps_what_it_said_and_a_renewed_one_does_not() {
    let work = folder(&[("s.json", b"{\"s\": \"s3cr3t\"}")]);
    let cache = Cache::new([("vault", rule())]);
    let none = Earlier::new(Resolver::builder().build().unwrap());
    let first = since(over_documents(&cache), work.path(), &none).await;
    get(&first, "s").await.unwrap();
    let earlier = Earlier::new(first);
    let second = since(over_documents(&cache), work.path(), &earlier).await;
    get(&second, "s").await.unwrap();
    assert_eq!(second.backend_calls(), 0);
    drop(earlier);
    let mut earlier = Earlier::new(second);
    earlier.renewed.insert("vault".to_owned());
    let third = since(over_documents(&cache), work.path(), &earlier).await;
    get(&third, "s").await.unwrap();
    assert_eq!(third.backend_calls(), 1);
    assert_eq!(cache.stats().entries, 2);
    // What was kept of the other store goes with it.
    drop(earlier);
    assert_eq!(cache.stats().entries, 1);
    // A cache of its own begins with nothing, whoever had the store before.
    let earlier = Earlier::new(third);
    let other = Cache::new([("vault", rule())]);
    let fourth = since(over_documents(&other), work.path(), &earlier).await;
    get(&fourth, "s").await.unwrap();
    assert_eq!(fourth.backend_calls(), 1);
    drop((earlier, fourth));
    assert_eq!(cache.stats().bytes + other.stats().bytes, 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_does_not_outlive_a_denial() {
    let work = folder(&[("s.json", b"{\"s\": \"s3cr3t\"}")]);
    let cache = Cache::new([("vault", rule())]);
    let none = Earlier::new(Resolver::builder().build().unwrap());
    let first = since(over_documents(&cache), work.path(), &none).await;
    get(&first, "s").await.unwrap();
    let scope = SecretsScope::new("vault").deny("s");
    let denying = over_documents(&cache).policy(Policy::open().with_scope(scope).unwrap());
    let second = since(denying, work.path(), &Earlier::new(first)).await;
    assert_eq!(class(&second, "s").await, Class::PolicyDenied);
    assert_eq!(counts(&second), [0, 0, 1, 0]);
}

#[tokio::test(start_paused = true)]
async fn references_are_answered_from_what_is_kept() {
    let store = Counting::new(Memory::new().with("s", [("k", "v"), ("l", "w")]));
    let resolver = Resolver::builder()
        .shared_store("vault", Arc::new(store.clone()))
        .cache(Cache::new([("*", rule())]))
        .build()
        .unwrap();
    let items = [
        "{name: p, secretKeyRef: {name: s, key: k}}",
        "{name: q, secretKeyRef: {name: s, key: l}}",
    ];
    let text = keyref_tests::library::manifest("c", &items, "vault");
    for backend_calls in [1, 0] {
        let documents = vec![Document::new("c.yaml", text.as_str())];
        let resolution = resolver.resolve(documents, &Context::new()).await;
        assert!(resolution.is_complete(), "{:?}", resolution.problems);
        assert_eq!(resolution.stats.backend_calls, backend_calls);
        // What two references of one run share, as without a cache.
        assert_eq!(resolution.stats.cache_hits, 1);
    }
    assert_eq!(store.calls(), 1);
    // All secrets of a store are never kept.
    for _ in 0..2 {
        let request = keyref::stores::BulkRequest::default();
        resolver
            .bulk("vault", request, &Context::new())
            .await
            .unwrap();
    }
    assert_eq!(store.calls(), 3);
}
