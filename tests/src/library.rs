//! What tests of the library share: manifests, and stores that count.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use keyref::error::Class;
use keyref::secret::Secret;
use keyref::stores::{BulkRequest, Memory, SecretRequest, SecretStore, StoreError};
use keyref::{Context, Document, Resolution, Resolver, Value};

/// A component of a name with items, one line each, and a store.
pub fn manifest(name: &str, items: &[&str], store: &str) -> String {
    let mut text = format!(
        "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {{name: {name}}}\nspec:\n  \
         type: state.redis\n  version: v1\n  metadata:\n"
    );
    for item in items {
        text.push_str("  - ");
        text.push_str(item);
        text.push('\n');
    }
    if !store.is_empty() {
        text.push_str("auth: {secretStore: ");
        text.push_str(store);
        text.push_str("}\n");
    }
    text
}

/// Resolves one text on a runtime of its own.
pub fn resolve(resolver: &Resolver, text: &str) -> Resolution {
    resolve_with(
        resolver,
        vec![Document::new("c.yaml", text)],
        &Context::new(),
    )
}

/// Resolves documents on a runtime of its own.
///
/// # Panics
/// Panics where no runtime can be made.
pub fn resolve_with(
    resolver: &Resolver,
    documents: Vec<Document>,
    context: &Context,
) -> Resolution {
    block_on(resolver.resolve(documents, context))
}

/// The longest that the caller's thread could do nothing else while some work went on, in a second;
/// the shortest of three times, since others may use the machine meanwhile.
pub fn longest_hold<T>(work: impl AsyncFn() -> T) -> Duration {
    let once = || {
        block_on(async {
            let pauses = async {
                let (mut longest, mut last) = (Duration::ZERO, Instant::now());
                for _ in 0..100 {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    longest = longest.max(last.elapsed());
                    last = Instant::now();
                }
                longest
            };
            tokio::join!(work(), pauses).1
        })
    };
    (0..3).map(|_| once()).min().unwrap_or_default()
}

/// How long some work took, as it says: the shortest of up to three times, since others may use the
/// machine meanwhile; the first under the limit is enough.
pub fn shortest(limit: Duration, mut work: impl FnMut() -> Duration) -> Duration {
    let mut shortest = Duration::MAX;
    for _ in 0..3 {
        shortest = shortest.min(work());
        if shortest < limit {
            break;
        }
    }
    shortest
}

/// Runs a future to its end.
#[expect(clippy::expect_used, reason = "a test without a runtime has failed")]
pub fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime can be made").block_on(work)
}

/// A property of the first component, as text.
pub fn property(resolution: &Resolution, name: &str) -> Option<String> {
    let property = resolution.components.first()?.property(name)?;
    Some(match &property.value {
        Value::Plain(text) => text.clone(),
        Value::Secret(value) => value.reveal_text().ok()?.to_owned(),
        _ => return None,
    })
}

/// The codes of the problems' classes.
pub fn codes(resolution: &Resolution) -> Vec<&'static str> {
    resolution
        .problems
        .iter()
        .map(|problem| problem.class.code())
        .collect()
}

/// A store that remembers what it was asked.
#[derive(Clone, Debug, Default)]
pub struct Counting {
    store: Memory,
    asked: Arc<Mutex<BTreeMap<String, usize>>>,
    bulks: Arc<AtomicUsize>,
}

impl Counting {
    /// A store over secrets in memory.
    pub fn new(store: Memory) -> Self {
        Self {
            store,
            ..Self::default()
        }
    }

    /// How often each secret was asked for.
    pub fn asked(&self) -> BTreeMap<String, usize> {
        self.asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// How often it was asked in all.
    pub fn calls(&self) -> usize {
        self.asked().values().sum::<usize>() + self.bulks.load(Ordering::Relaxed)
    }
}

#[async_trait::async_trait]
impl SecretStore for Counting {
    async fn get(
        &self,
        request: &SecretRequest,
        context: &Context,
    ) -> Result<Option<Secret>, StoreError> {
        *self
            .asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(request.name.clone())
            .or_default() += 1;
        // Gives others the chance to ask for the same meanwhile.
        tokio::time::sleep(Duration::from_millis(20)).await;
        self.store.get(request, context).await
    }

    async fn bulk(
        &self,
        request: &BulkRequest,
        context: &Context,
    ) -> Result<BTreeMap<String, Secret>, StoreError> {
        self.bulks.fetch_add(1, Ordering::Relaxed);
        self.store.bulk(request, context).await
    }
}

/// A store with namespaces: the one value of each secret is the namespace that it was asked for.
#[derive(Clone, Copy, Debug)]
pub struct Namespaced;

#[async_trait::async_trait]
impl SecretStore for Namespaced {
    async fn get(
        &self,
        request: &SecretRequest,
        _context: &Context,
    ) -> Result<Option<Secret>, StoreError> {
        let namespace = request.namespace.as_str();
        Ok(Some([("k", namespace)].into_iter().collect()))
    }

    async fn bulk(
        &self,
        _request: &BulkRequest,
        _context: &Context,
    ) -> Result<BTreeMap<String, Secret>, StoreError> {
        Ok(BTreeMap::new())
    }

    fn is_namespaced(&self) -> bool {
        true
    }
}

/// How a store is.
#[derive(Clone, Copy, Debug, Default)]
pub enum Mood {
    /// It has whatever it is asked for.
    #[default]
    Well,
    /// The same, after a time.
    Slow(Duration),
    /// It has nothing.
    Absent,
    /// It fails so.
    Fails(Class),
    /// It never answers.
    Hangs,
}

/// A store that can be made to fail. Each value says when the store was asked.
#[derive(Clone, Debug)]
pub struct Moody {
    mood: Arc<Mutex<Mood>>,
    calls: Arc<AtomicUsize>,
    begin: tokio::time::Instant,
}

impl Default for Moody {
    fn default() -> Self {
        Self {
            mood: Arc::default(),
            calls: Arc::default(),
            begin: tokio::time::Instant::now(),
        }
    }
}

impl Moody {
    /// How it is from now on; what it has begun to answer it answers as it was.
    pub fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap_or_else(PoisonError::into_inner) = mood;
    }

    /// How often it was asked.
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    /// How old a secret of it is.
    #[expect(clippy::expect_used, reason = "a secret of another store is a slip")]
    pub fn age(&self, secret: &Secret) -> Duration {
        let asked = secret
            .get("asked")
            .and_then(|asked| asked.reveal_text().ok());
        let asked = asked.and_then(|asked| asked.parse().ok());
        let asked = asked.map(Duration::from_millis);
        self.begin
            .elapsed()
            .saturating_sub(asked.expect("it is one of this store"))
    }
}

#[async_trait::async_trait]
impl SecretStore for Moody {
    async fn get(
        &self,
        _request: &SecretRequest,
        _context: &Context,
    ) -> Result<Option<Secret>, StoreError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let mood = *self.mood.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = self.begin.elapsed().as_millis().to_string();
        match mood {
            Mood::Well => {}
            Mood::Slow(time) => tokio::time::sleep(time).await,
            Mood::Absent => return Ok(None),
            Mood::Fails(class) => return Err(StoreError::new(class, "it fails")),
            Mood::Hangs => std::future::pending().await,
        }
        let secret = [("asked", asked.as_str()), ("value", "s3cr3t")];
        Ok(Some(secret.into_iter().collect()))
    }

    async fn bulk(
        &self,
        _request: &BulkRequest,
        _context: &Context,
    ) -> Result<BTreeMap<String, Secret>, StoreError> {
        Ok(BTreeMap::new())
    }
}
