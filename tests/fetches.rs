//! The fewest backend calls: each secret once for each run, and once for all who wait for it.

use std::sync::Arc;

use keyref::stores::Memory;
use keyref::{Context, Document, Resolver};
use keyref_tests::library::{Counting, block_on, manifest, resolve, resolve_with};

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
