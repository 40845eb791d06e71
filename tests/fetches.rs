//! The fewest backend calls: each secret once for each run, and once for all who wait for it.

use std::collections::BTreeMap;
use std::future::Future as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context as Poll, Waker};

use keyref::observer::{DenyEvent, FetchEvent, Observer, ResolveEvent};
use keyref::policy::{Policy, SecretsScope};
use keyref::secret::Secret;
use keyref::stores::{BulkRequest, Grants, Memory, SecretRequest, SecretStore, StoreError};
use keyref::{Context, Document, Resolver};
use keyref_tests::library::{Counting, Namespaced, block_on, manifest, resolve, resolve_with};

fn counting() -> (Counting, Resolver) {
    let secrets = (0..10).map(|secret| {
        let keys = (0..1_000).map(|key| (format!("k{key}"), "v")).collect();
        (format!("s{secret}"), keys)
    });
    let store = Counting::new(secrets.collect::<Memory>());
    let resolver = Resolver::builder()
        .shared_store("vault", Arc::new(store.clone()))
        .build()
        .unwrap();
    (store, resolver)
}

#[test]
fn a_thousand_references_to_one_secret_cost_one_fetch() {
    let (store, resolver) = counting();
    let items: Vec<_> = (0..1_000)
        .map(|key| format!("{{name: p{key}, secretKeyRef: {{name: s0, key: k{key}}}}}"))
        .collect();
    let items: Vec<_> = items.iter().map(String::as_str).collect();
    let resolution = resolve(&resolver, &manifest("c", &items, "vault"));
    assert!(resolution.is_complete(), "{:?}", resolution.problems);
    assert_eq!(resolution.components[0].properties.len(), 1_000);
    assert_eq!(store.calls(), 1);
    assert_eq!(resolution.stats.backend_calls, 1);
    assert_eq!(resolution.stats.cache_hits, 999);
}

#[test]
fn a_thousand_documents_that_name_ten_secrets_cost_ten() {
    let (store, resolver) = counting();
    let documents: Vec<_> = (0..1_000)
        .map(|index| {
            let item = format!(
                "{{name: p, secretKeyRef: {{name: s{}, key: k1}}}}",
                index % 10
            );
            let name = format!("c{index}");
            Document::new(format!("{name}.yaml"), manifest(&name, &[&item], "vault"))
        })
        .collect();
    let resolution = resolve_with(&resolver, documents, &Context::new());
    assert!(resolution.is_complete(), "{:?}", resolution.problems);
    assert_eq!(resolution.components.len(), 1_000);
    assert_eq!(store.calls(), 10);
}

#[test]
fn runs_at_the_same_time_share_a_fetch() {
    let (store, resolver) = counting();
    let text = manifest(
        "c",
        &["{name: p, secretKeyRef: {name: s0, key: k1}}"],
        "vault",
    );
    let context = Context::new();
    let run = || resolver.resolve(vec![Document::new("c.yaml", text.clone())], &context);
    let (first, second, third) = block_on(async { tokio::join!(run(), run(), run()) });
    for resolution in [first, second, third] {
        assert!(resolution.is_complete(), "{:?}", resolution.problems);
    }
    assert_eq!(store.calls(), 1);
    assert_eq!(store.asked().len(), 1);
}

#[test]
fn the_order_and_the_split_of_documents_change_nothing() {
    let (_, resolver) = counting();
    let manifests: Vec<_> = (0..20)
        .map(|index| {
            let item = format!(
                "{{name: p, secretKeyRef: {{name: s{}, key: k{index}}}}}",
                index % 10
            );
            manifest(
                &format!("c{index}"),
                &[&item, "{name: q, value: 0x10}"],
                "vault",
            )
        })
        .collect();
    let outcome = |documents: Vec<Document>| {
        let resolution = resolve_with(&resolver, documents, &Context::new());
        let mut components: Vec<_> = resolution
            .components
            .iter()
            .map(|found| {
                let properties = found.properties.iter().map(|property| {
                    format!(
                        "{} {:?} {:?}",
                        property.name, property.value, property.origin
                    )
                });
                (found.component.name.clone(), properties.collect::<Vec<_>>())
            })
            .collect();
        components.sort();
        components
    };
    let together = outcome(vec![Document::new("all.yaml", manifests.join("---\n"))]);
    let apart = |manifests: &mut dyn Iterator<Item = &String>| {
        outcome(
            manifests
                .map(|text| Document::new("one.yaml", text.as_str()))
                .collect(),
        )
    };
    assert_eq!(together.len(), 20);
    assert_eq!(together, apart(&mut manifests.iter()));
    assert_eq!(together, apart(&mut manifests.iter().rev()));
}

#[derive(Default)]
struct Log(Mutex<Vec<String>>);

impl Log {
    fn add(&self, event: String) {
        self.0.lock().unwrap().push(event);
    }
}

impl Observer for Log {
    fn fetched(&self, context: &Context, event: &FetchEvent<'_>) {
        let caller = context.caller.as_deref().unwrap_or_default();
        self.add(format!(
            "{caller} fetched {:?} of {}",
            event.secret, event.store
        ));
    }

    fn denied(&self, _: &Context, event: &DenyEvent<'_>) {
        let asked = event.secret.or(event.variable).unwrap_or("all");
        self.add(format!("denied {asked} of {:?}", event.store));
    }

    fn resolved(&self, _: &Context, event: &ResolveEvent) {
        self.add(format!(
            "resolved {}, {} problems",
            event.components, event.problems
        ));
    }
}

#[test]
fn an_observer_sees_what_is_fetched_denied_and_resolved() {
    let log = Arc::new(Log::default());
    let scope = SecretsScope::new("vault").deny("t");
    let resolver = Resolver::builder()
        .store(
            "vault",
            Memory::new()
                .with("s", [("k", "v")])
                .with("t", [("k", "v")]),
        )
        .policy(Policy::open().with_scope(scope).unwrap())
        .observer(Arc::clone(&log) as Arc<dyn Observer>)
        .build()
        .unwrap();
    let reference = |secret: &str| format!("{{name: p, secretKeyRef: {{name: {secret}, key: k}}}}");
    let mut documents = ["s", "t"]
        .map(|name| Document::new(name, manifest(name, &[reference(name).as_str()], "vault")))
        .to_vec();
    let variable = manifest("v", &["{name: p, envRef: DAPR_API_TOKEN}"], "");
    documents.push(Document::new("v", variable));
    resolve_with(&resolver, documents, &Context::new().with_caller("me"));
    let mut events = log.0.lock().unwrap().clone();
    events.sort();
    assert_eq!(
        events,
        [
            "denied DAPR_API_TOKEN of None",
            "denied t of Some(\"vault\")",
            "me fetched Some(\"s\") of vault",
            "resolved 1, 2 problems"
        ]
    );
}

#[test]
fn a_denied_reference_of_a_declared_store_is_one_event() {
    let log = Arc::new(Log::default());
    let resolver = Resolver::builder()
        .store("vault", Memory::new().with("t", [("k", "v")]))
        .policy(
            Policy::open()
                .with_scope(SecretsScope::new("vault").deny("t"))
                .unwrap(),
        )
        .allow_document_stores(Grants::all())
        .observer(Arc::clone(&log) as Arc<dyn Observer>)
        .build()
        .unwrap();
    let items = ["{name: secretsFile, secretKeyRef: {name: t, key: k}}"];
    let store =
        manifest("inner", &items, "vault").replace("state.redis", "secretstores.local.file");
    let resolution = resolve(&resolver, &store);
    assert_eq!(resolution.problems.len(), 1, "{:?}", resolution.problems);
    assert_eq!(
        *log.0.lock().unwrap(),
        ["denied t of Some(\"vault\")", "resolved 0, 1 problems"]
    );
}

#[test]
fn refusals_of_a_namespace_and_of_all_secrets_are_events() {
    let log = Arc::new(Log::default());
    let closed = SecretsScope::new("closed").deny_by_default();
    let resolver = Resolver::builder()
        .store("vault", Namespaced)
        .store("closed", Memory::new().with("s", [("k", "v")]))
        .policy(Policy::open().with_scope(closed).unwrap())
        .observer(Arc::clone(&log) as Arc<dyn Observer>)
        .build()
        .unwrap();
    let context = Context::new();
    let mut one = SecretRequest::new("s");
    one.namespace = "foreign".to_owned();
    let mut all = BulkRequest::default();
    all.namespace = "foreign".to_owned();
    block_on(async {
        assert!(resolver.get("vault", one, &context).await.is_err());
        assert!(resolver.bulk("vault", all, &context).await.is_err());
        let nothing = resolver
            .bulk("closed", BulkRequest::default(), &context)
            .await;
        assert!(nothing.unwrap().is_empty());
    });
    assert_eq!(
        *log.0.lock().unwrap(),
        [
            "denied s of Some(\"vault\")",
            "denied all of Some(\"vault\")",
            "denied all of Some(\"closed\")",
        ]
    );
}

#[test]
fn resolvers_share_one_engine() {
    let many: Vec<_> = (0..300)
        .map(|_| Resolver::builder().store("vault", Memory::new().with("s", [("k", "v")])))
        .map(|builder| builder.build().unwrap())
        .collect();
    let text = manifest(
        "c",
        &["{name: p, secretKeyRef: {name: s, key: k}}"],
        "vault",
    );
    for resolver in &many {
        assert!(resolve(resolver, &text).is_complete());
    }
}

/// A store that never answers, and knows who still waits for it.
#[derive(Clone, Default)]
struct Silent(Arc<AtomicUsize>);

struct Waiting(Arc<AtomicUsize>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait::async_trait]
impl SecretStore for Silent {
    async fn get(&self, _: &SecretRequest, _: &Context) -> Result<Option<Secret>, StoreError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        let _waiting = Waiting(Arc::clone(&self.0));
        std::future::pending().await
    }

    async fn bulk(
        &self,
        _: &BulkRequest,
        _: &Context,
    ) -> Result<BTreeMap<String, Secret>, StoreError> {
        Ok(BTreeMap::new())
    }
}

#[test]
fn dropping_the_future_ends_what_it_waits_for() {
    let store = Silent::default();
    let resolver = Resolver::builder()
        .store("vault", store.clone())
        .build()
        .unwrap();
    let text = manifest("c", &["{name: p, secretKeyRef: {name: s}}"], "vault");
    let context = Context::new();
    block_on(async {
        let work = resolver.resolve(vec![Document::new("c.yaml", text)], &context);
        let mut work = Box::pin(work);
        let mut poll = Poll::from_waker(Waker::noop());
        // The guest may take more than one turn on a slow machine.
        while store.0.load(Ordering::SeqCst) == 0 {
            assert!(work.as_mut().poll(&mut poll).is_pending());
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        drop(work);
        assert_eq!(store.0.load(Ordering::SeqCst), 0);
    });
}
