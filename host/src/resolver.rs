//! The paved path: documents in, components with their secrets out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::time::Instant;

use crate::batch::{self, Batch};
use crate::builder::ResolverBuilder;
use crate::cache::Cache;
use crate::component::{Component, Origin, ResolvedComponent};
use crate::context::Context;
use crate::document::Document;
use crate::document_stores;
use crate::earlier::Earlier;
use crate::error::SecretError;
use crate::finish::{self, Finished};
use crate::guest::Answers;
use crate::health::Health;
use crate::inner::Inner;
use crate::inspection::{InspectedComponent, InspectedReference, Inspection};
use crate::load::Loaded;
use crate::mode::Mode;
use crate::observer::ResolveEvent;
use crate::policy::Policy;
use crate::problem::Problem;
use crate::request::{AnswerMap, Request};
use crate::resolution::{Resolution, Stats};
use crate::run::Run;
use crate::schedule::{self, Placing};
use crate::secret::{Secret, SecretValue};
use crate::secrets::Secrets;
use crate::stamp::Stamps;
use crate::stores::{BulkRequest, SecretRequest};

/// How many components are finished before others have a turn.
const AT_A_STRETCH: u32 = 64;

/// Resolves documents. Cheap to clone, and free of global state.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// use keyref::stores::Memory;
/// use keyref::{Context, Document, Resolver};
///
/// let resolver = Resolver::builder()
///     .store("vault", Memory::new().with("redis", [("password", "s3cr3t")]))
///     .build()?;
/// let manifest = "
/// apiVersion: dapr.io/v1alpha1
/// kind: Component
/// metadata: {name: statestore}
/// spec:
///   type: state.redis
///   version: v1
///   metadata:
///   - name: redisPassword
///     secretKeyRef: {name: redis, key: password}
/// auth: {secretStore: vault}
/// ";
/// let documents = vec![Document::new("statestore.yaml", manifest)];
/// let resolution = resolver.resolve(documents, &Context::new()).await;
/// assert!(resolution.is_complete());
/// # Ok(()) })
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Resolver {
    inner: Arc<Inner>,
}

impl Resolver {
    /// Starts with no stores, an open policy and strict mode.
    pub fn builder() -> ResolverBuilder {
        ResolverBuilder::default()
    }

    pub(crate) fn secrets(&self) -> &Secrets {
        &self.inner.secrets
    }

    pub(crate) fn from_inner(inner: Inner) -> Self {
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Loads documents and resolves the references in them.
    ///
    /// Whatever is wrong is in the problems of what it returns; it does not fail. Dropping the
    /// future cancels it.
    pub async fn resolve(&self, documents: Vec<Document>, context: &Context) -> Resolution {
        let begin = Instant::now();
        let inner = &self.inner;
        let run = Run::of_many();
        let mut loaded = self.inner.load(documents, context, &run, false).await;
        let fetching = Instant::now();
        let secrets = match &inner.document_stores {
            // Stores that stand in the documents are this call's alone.
            Some(_) => inner.secrets.fork(),
            None => inner.secrets.clone(),
        };
        let asking = &context.asking();
        let opening = document_stores::open(inner, &mut loaded, &secrets, asking, &run, None);
        let mut answers = opening.await.answers;
        let requests = loaded.requests();
        let references = requests.map(|request| secrets.origin(request)).collect();
        let loaded_components = loaded.selected.iter().map(Vec::len).sum();
        let wanted = loaded.requests();
        let wanted = wanted.filter(|request| !answers.contains_key(request));
        let fetched = secrets.values(
            wanted.cloned().collect(),
            asking,
            &run,
            inner.limits.fetches,
        );
        answers.extend(fetched.await);
        let fetch = fetching.elapsed();
        let placing = Instant::now();
        let (components, failed) = self.place(&mut loaded, &answers, &secrets, context).await;
        let problems = loaded.take_problems();
        let stats = Stats {
            components: loaded_components,
            backend_calls: run.calls(),
            cache_hits: run.hits(),
            parse: loaded.parse,
            fetch,
            place: placing.elapsed(),
        };
        if let Some(observer) = &inner.observer {
            let (components, problems) = (components.len(), problems.len());
            observer.resolved(
                context,
                &ResolveEvent {
                    components,
                    problems,
                    elapsed: begin.elapsed(),
                },
            );
        }
        Resolution {
            components,
            failed,
            problems,
            references,
            stores: secrets.declared(),
            stats,
        }
    }

    /// Loads documents and says what they refer to, and what policy says of it. Asks no store.
    pub async fn inspect(&self, documents: Vec<Document>, context: &Context) -> Inspection {
        let run = Run::of_many();
        let mut loaded = self.inner.load(documents, context, &run, true).await;
        let secrets = match &self.inner.document_stores {
            Some(grants) => {
                let secrets = self.inner.secrets.fork();
                document_stores::declare(&self.inner, &mut loaded, grants, &secrets);
                secrets
            }
            None => self.inner.secrets.clone(),
        };
        let mode = self.inner.mode;
        let selected = loaded
            .components()
            .flat_map(|component| finish::slips(component, mode));
        let slips: Vec<_> = selected.collect();
        loaded.problems.extend(slips);
        let problems = loaded.take_problems();
        let mut components = Vec::new();
        for (batch, selected) in loaded.batches.into_iter().zip(loaded.selected) {
            let requests = batch.requests;
            for (index, component) in (0_u32..).zip(batch.components) {
                if selected.binary_search(&index).is_err() {
                    continue;
                }
                let references = component
                    .items
                    .iter()
                    .enumerate()
                    .filter_map(|(item, found)| {
                        let wanted = requests.get(found.request?)?;
                        Some(InspectedReference {
                            item,
                            origin: secrets.origin(wanted),
                            refusal: secrets.check(wanted, context, &run).err(),
                        })
                    });
                let references = references.collect();
                components.push(InspectedComponent {
                    component,
                    references,
                    mode,
                });
            }
        }
        let stats = Stats {
            components: components.len(),
            parse: loaded.parse,
            ..Stats::default()
        };
        Inspection {
            components,
            problems,
            stores: secrets.declared(),
            stats,
        }
    }

    /// Opens the stores that documents declare, for reading from them by name: the resolver that
    /// it returns has them as its own.
    pub async fn with_stores_of(
        &self,
        documents: Vec<Document>,
        context: &Context,
    ) -> (Self, Vec<Problem>) {
        self.with_stores(documents, context, None).await
    }

    /// The same, where most of these stores were opened earlier and need not be again.
    pub async fn with_stores_since(
        &self,
        documents: Vec<Document>,
        context: &Context,
        earlier: &Earlier,
    ) -> (Self, Vec<Problem>) {
        self.with_stores(documents, context, Some(earlier)).await
    }

    async fn with_stores(
        &self,
        documents: Vec<Document>,
        context: &Context,
        earlier: Option<&Earlier>,
    ) -> (Self, Vec<Problem>) {
        let run = Run::of_many();
        let mut loaded = self.inner.load(documents, context, &run, false).await;
        let secrets = self.inner.secrets.fork();
        let (old, stores) = (&self.inner, &mut loaded);
        let asking = context.asking();
        let opening = document_stores::open(old, stores, &secrets, &asking, &run, earlier);
        let problems = opening.await.problems;
        loaded.problems.extend(problems);
        let inner = Inner {
            guest: self.inner.guest.clone(),
            secrets,
            mode: self.inner.mode,
            limits: self.inner.limits.clone(),
            observer: self.inner.observer.clone(),
            slips: self.inner.slips.clone(),
            document_stores: self.inner.document_stores.clone(),
            denied_types: self.inner.denied_types.clone(),
        };
        (Self::from_inner(inner), loaded.take_problems())
    }

    /// The files that stores were opened from, as they were just before, by the store's name: those
    /// of the stores that could not be as well.
    pub fn files(&self) -> BTreeMap<String, Stamps> {
        self.inner.secrets.files()
    }

    /// Reads one secret of a store, after policy has been asked.
    pub async fn get(
        &self,
        store: &str,
        request: SecretRequest,
        context: &Context,
    ) -> Result<Secret, SecretError> {
        self.inner
            .secrets
            .get(store, request, context, &Run::of_one())
            .await
    }

    /// Reads one key of a secret of a store, after policy has been asked.
    pub async fn value(
        &self,
        store: &str,
        request: SecretRequest,
        key: &str,
        context: &Context,
    ) -> Result<SecretValue, SecretError> {
        let secrets = &self.inner.secrets;
        secrets
            .key(store, request, key, context, &Run::of_one())
            .await
    }

    /// Reads all secrets of a store that policy allows.
    pub async fn bulk(
        &self,
        store: &str,
        request: BulkRequest,
        context: &Context,
    ) -> Result<BTreeMap<String, Secret>, SecretError> {
        self.inner.secrets.bulk(store, request, context).await
    }

    /// Fetches what a guest asks for, after policy has been asked: for those who run a guest on
    /// wasmtime themselves, with [`guest::add_to_linker`](crate::guest::add_to_linker).
    pub async fn answers(&self, requests: Vec<Request>, context: &Context) -> Answers {
        let limits = &self.inner.limits;
        let (run, requests) = (Run::of_many(), requests.into_iter().collect());
        let secrets = &self.inner.secrets;
        let answers = secrets
            .values(requests, context, &run, limits.fetches)
            .await;
        let answers = answers.into_iter().enumerate();
        Answers::new(
            answers.map(|(index, (request, answer))| (index, request, answer)),
            limits.handles,
        )
    }

    /// How often stores were asked, those of documents as well, by all calls together.
    pub fn backend_calls(&self) -> u64 {
        self.inner.secrets.calls()
    }

    /// What is kept of what stores have said, with its counts.
    pub fn cache(&self) -> &Cache {
        self.inner.secrets.cache()
    }

    /// The names of the stores, sorted; those that cannot be used as well.
    pub fn stores(&self) -> Vec<String> {
        self.inner.secrets.declared()
    }

    /// Whether a store of this name is open, or waits to be: one that cannot be used is not.
    pub fn has_store(&self, name: &str) -> bool {
        self.inner.secrets.is_open(name)
    }

    /// Whether a store of this name cannot be opened yet: what it needs of other stores cannot be had.
    /// Each read of it fails with the reason. Such stores are opened when documents are given once
    /// more.
    pub fn is_waiting(&self, name: &str) -> bool {
        self.inner.secrets.is_waiting(name)
    }

    /// How a store has answered since it was opened, where it is open.
    pub fn health(&self, name: &str) -> Option<Health> {
        self.inner.secrets.health(name)
    }

    /// Whether any store is open.
    pub fn has_stores(&self) -> bool {
        self.inner.secrets.any_open()
    }

    /// What happens where Dapr goes on silently.
    pub fn mode(&self) -> Mode {
        self.inner.mode
    }

    /// The policy.
    pub fn policy(&self) -> &Policy {
        self.inner.secrets.policy()
    }

    /// What is probably a slip in the configurations that the policy was made from, as warnings: in
    /// Dapr mode fields that are not known, which are errors in strict mode.
    pub fn configuration_slips(&self) -> &[Problem] {
        &self.inner.slips
    }

    /// Scopes of the policy whose store is not among these, as warnings: each leaves open the store
    /// that was meant.
    pub fn unknown_scopes(&self, stores: &[String]) -> Vec<Problem> {
        let stores = stores.iter().cloned().collect();
        self.policy().unknown_scopes(&stores, &Run::of_many())
    }

    /// Entries of the policy for one of these stores that none of these references uses, as warnings:
    /// slips, or no longer needed.
    pub fn unused_entries(&self, stores: &[String], references: &[Origin]) -> Vec<Problem> {
        let stores = stores.iter().cloned().collect();
        let mut used: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for reference in references {
            if let Origin::Secret { store, secret, .. } = reference {
                used.entry(store).or_default().insert(secret);
            }
        }
        let run = Run::of_many();
        self.policy().unused_entries(&stores, &used, &run)
    }

    /// Lets the guest say where each answer belongs, and puts the values there.
    async fn place(
        &self,
        loaded: &mut Loaded,
        answers: &AnswerMap,
        secrets: &Secrets,
        context: &Context,
    ) -> (Vec<ResolvedComponent>, Vec<Component>) {
        let inner = &self.inner;
        let selected = std::mem::take(&mut loaded.selected);
        let work = std::mem::take(&mut loaded.batches)
            .into_iter()
            .zip(&selected)
            .map(|(batch, selected)| {
                let indices = batch.with_requests(selected);
                let answers = batch.answers(answers, inner.limits.handles);
                Placing {
                    batch,
                    indices,
                    answers,
                    more: false,
                }
            });
        let placed = schedule::place(&inner.guest, work.collect(), &loaded.budget).await;
        let (mut components, mut lost) = (Vec::new(), Vec::new());
        for ((batch, mut placement), selected) in placed.into_iter().zip(selected) {
            let Batch {
                components: parsed,
                requests,
                ..
            } = batch;
            for (index, component) in (0_u32..).zip(parsed) {
                // Others have their turn on the caller's thread.
                if index % AT_A_STRETCH == AT_A_STRETCH - 1 {
                    tokio::task::yield_now().await;
                }
                if selected.binary_search(&index).is_err() {
                    continue;
                }
                if let Some(error) = placement.failure(index) {
                    loaded
                        .problems
                        .push(batch::failed(component.position.clone(), error));
                    lost.push(component);
                    continue;
                }
                let values = placement.values(index, &component, &requests, answers, secrets);
                let environment = secrets.environment();
                let problems = &mut loaded.problems;
                match finish::finish(
                    component,
                    values,
                    inner.mode,
                    context,
                    environment,
                    problems,
                ) {
                    Finished::Resolved(component) => components.push(*component),
                    Finished::Failed(component) | Finished::Parked(component) => {
                        lost.push(*component);
                    }
                }
            }
        }
        (components, lost)
    }
}

#[cfg(test)]
mod tests {
    use super::Resolver;
    use crate::context::Context;

    /// Executors move what they run between threads.
    #[test]
    fn a_resolver_and_its_calls_go_from_thread_to_thread() {
        fn is_shared<T: Clone + Send + Sync + 'static>(_: &T) {}
        fn is_sent<T: Send>(_: &T) {}

        let resolver = Resolver::builder().build().unwrap();
        let context = Context::new();
        is_shared(&resolver);
        is_shared(&context);
        is_sent(&resolver.resolve(Vec::new(), &context));
        is_sent(&resolver.inspect(Vec::new(), &context));
        is_sent(&resolver.with_stores_of(Vec::new(), &context));
    }
}
