//! What stores have said, kept for a while: how much of it, and never for longer than stated.

use std::sync::Arc;
use std::time::Duration;

use keyref::cache::CacheBounds;
use keyref::error::{Class, SecretError};
use keyref::secret::Secret;
use keyref::stores::{Memory, SecretRequest};
use keyref::{Cache, CacheRule, Context, Resolver};
use keyref_tests::library::{Counting, Mood, Moody};
use proptest::prelude::{Just, ProptestConfig, Strategy, prop, prop_assert, prop_oneof, proptest};
use tokio::time::{Instant, advance};

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);

fn rule() -> CacheRule {
    CacheRule::new(SECOND * 100).with_negative_ttl(SECOND * 10)
}

fn with_cache(store: &Moody, cache: Cache) -> Resolver {
    let store = Arc::new(store.clone());
    let builder = Resolver::builder().shared_store("vault", store);
    builder.cache(cache).build().unwrap()
}

async fn get(resolver: &Resolver, name: &str) -> Result<Secret, SecretError> {
    let request = SecretRequest::new(name);
    resolver.get("vault", request, &Context::new()).await
}

async fn class(resolver: &Resolver, name: &str) -> Class {
    get(resolver, name).await.unwrap_err().class
}

#[tokio::test(start_paused = true)]
async fn a_million_names_take_no_more_than_the_bound() {
    let store = Moody::default();
    let bounds = CacheBounds::default();
    let resolver = with_cache(&store, Cache::new([("vault", rule())]));
    get(&resolver, "kept").await.unwrap();
    store.set(Mood::Absent);
    for index in 0..1_000_000 {
        class(&resolver, &index.to_string()).await;
        if index % 1_000 == 0 {
            let stats = resolver.cache().stats();
            assert!(stats.entries <= bounds.entries / 10 + 1, "{stats:?}");
        }
    }
    // Names that do not exist push out no value.
    store.set(Mood::Fails(Class::Internal));
    get(&resolver, "kept").await.unwrap();
    store.set(Mood::Well);
    for index in 0..20_000 {
        get(&resolver, &format!("s{index}")).await.unwrap();
    }
    let stats = resolver.cache().stats();
    assert_eq!(stats.entries, bounds.entries + bounds.entries / 10);
    assert!(stats.bytes <= bounds.bytes + bounds.bytes / 10, "{stats:?}");
    assert!(stats.evictions > 1_000_000, "{stats:?}");
    // The last ones are still there.
    let before = store.calls();
    get(&resolver, "s19999").await.unwrap();
    assert_eq!(store.calls(), before);
}

#[tokio::test(start_paused = true)]
async fn what_is_large_counts_for_what_it_takes() {
    let large = "v".repeat(400_000);
    let names: Vec<_> = (0..100).map(|index| format!("s{index}")).collect();
    let secrets = names.iter().map(|name| {
        let secret: Secret = [("k", large.as_str())].into_iter().collect();
        (name.clone(), secret)
    });
    let store = Counting::new(secrets.collect::<Memory>());
    let cache = Cache::with_bounds([("*", rule())], CacheBounds::new(1_000, 1 << 20));
    let resolver = Resolver::builder()
        .shared_store("vault", Arc::new(store.clone()))
        .cache(cache)
        .build()
        .unwrap();
    for name in &names {
        get(&resolver, name).await.unwrap();
    }
    let stats = resolver.cache().stats();
    assert_eq!((stats.entries, stats.evictions), (2, 98));
    assert!(stats.bytes <= 1 << 20, "{stats:?}");
    // A name is held as well.
    class(&resolver, &"n".repeat(1 << 20)).await;
    let mut expected = stats;
    expected.misses += 1;
    assert_eq!(resolver.cache().stats(), expected);
}

/// What happens between two reads.
#[derive(Clone, Copy, Debug)]
enum Step {
    Read(u8),
    Wait(u64),
    Become(Mood),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let mood = prop_oneof![
        3 => Just(Mood::Well),
        1 => Just(Mood::Absent),
        3 => Just(Mood::Fails(Class::Unreachable)),
        1 => Just(Mood::Fails(Class::BackendDenied)),
    ];
    let step = prop_oneof![
        4 => (0..4_u8).prop_map(Step::Read),
        3 => (0..60_000_u64).prop_map(Step::Wait),
        1 => mood.prop_map(Step::Become),
    ];
    prop::collection::vec(step, 1..200)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// No value is older than its rule says, and one after its time is given out only while the store
    /// cannot be reached; never is more kept than the bound.
    #[test]
    fn no_value_is_older_than_stated(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let (ttl, stale) = (SECOND * 30, SECOND * 90);
            let rule = CacheRule::new(ttl).with_stale(stale);
            let store = Moody::default();
            let bounds = CacheBounds::new(3, 10_000);
            let resolver = with_cache(&store, Cache::with_bounds([("vault", rule)], bounds));
            let (mut mood, mut failed) = (Mood::Well, None::<Instant>);
            for step in steps {
                match step {
                    Step::Wait(time) => advance(MILLISECOND * u32::try_from(time).unwrap()).await,
                    Step::Become(new) => {
                        mood = new;
                        store.set(new);
                    }
                    Step::Read(name) => {
                        let read = get(&resolver, &name.to_string()).await;
                        if matches!(mood, Mood::Fails(Class::Unreachable)) {
                            failed = Some(Instant::now());
                        }
                        let Ok(found) = read else {
                            prop_assert!(!matches!(mood, Mood::Well));
                            continue;
                        };
                        // Each value says when the store was asked for it.
                        let age = store.age(&found);
                        let most = if found.is_stale() { ttl * 11 / 10 + stale } else { ttl * 11 / 10 };
                        prop_assert!(age <= most, "{age:?}, stale: {}", found.is_stale());
                        let recently = failed.is_some_and(|failed| failed.elapsed() <= SECOND);
                        prop_assert!(!found.is_stale() || recently);
                        let stats = resolver.cache().stats();
                        prop_assert!(stats.entries <= bounds.entries && stats.bytes <= bounds.bytes);
                    }
                }
            }
            Ok(())
        })?;
    }
}
