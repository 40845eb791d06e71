//! The paved path: documents in, components with their secrets out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::batch::{self, Batch};
use crate::builder::ResolverBuilder;
use crate::component::{Component, Origin, ResolvedComponent};
use crate::context::Context;
use crate::document_stores;
use crate::error::{Class, SecretError};
use crate::finish::{self, Finished};
use crate::guest::bindings::exports::keyref::secrets::resolver as wit;
use crate::guest::{Answers, Budget, Guest, INSTANCES};
use crate::limits::Limits;
use crate::observer::{Observer, ResolveEvent};
use crate::policy::Policy;
use crate::problem::{Place, Problem, Severity};
use crate::request::Request;
use crate::secret::{Secret, SecretValue};
use crate::secrets::{Run, Secrets};
use crate::select::{Exclusion, select};
use crate::stores::{BulkRequest, Grants, SecretRequest};

/// What happens where Dapr goes on silently.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Mode {
    /// A reference that cannot be resolved is an error.
    #[default]
    Strict,
    /// Dapr's own outcome: it leaves the literal or an empty string, and says so in a warning.
    Dapr,
}

/// A text to load.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Document {
    /// The name to report in problems, a path for instance.
    pub name: Arc<str>,
    /// The text: YAML, any number of parts between lines of `---`.
    pub text: Vec<u8>,
}

impl Document {
    /// A text with a name.
    pub fn new(name: impl Into<Arc<str>>, text: impl Into<Vec<u8>>) -> Self {
        Self {
            name: name.into(),
            text: text.into(),
        }
    }
}

/// What a set of documents came to.
#[derive(Debug)]
#[non_exhaustive]
pub struct Resolution {
    /// The components that are resolved as a whole, in the order of the documents.
    pub components: Vec<ResolvedComponent>,
    /// What is wrong, in the order of the documents. Where one is an error, what it is about is
    /// not among the components.
    pub problems: Vec<Problem>,
    /// What the loaded components refer to, one for each reference in the order of the documents,
    /// whether it could be resolved or not.
    pub references: Vec<Origin>,
    /// The names of the stores that references could name.
    pub stores: Vec<String>,
    /// What it took.
    pub stats: Stats,
}

impl Resolution {
    /// Whether nothing was lost: no problem is more than a warning.
    pub fn is_complete(&self) -> bool {
        self.problems
            .iter()
            .all(|problem| problem.severity != Severity::Error)
    }
}

/// What a call took.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Stats {
    /// How many components were loaded, resolved or not.
    pub components: usize,
    /// How often a store was asked.
    pub backend_calls: u64,
    /// How often a fetch of this call served another reference.
    pub cache_hits: u64,
    /// Time in the guest to parse.
    pub parse: Duration,
    /// Time to fetch.
    pub fetch: Duration,
    /// Time in the guest to place, and to finish.
    pub place: Duration,
}

/// What documents hold, and what they would be allowed; nothing is fetched.
#[derive(Debug)]
#[non_exhaustive]
pub struct Inspection {
    /// The components that would be loaded, each with its references.
    pub components: Vec<InspectedComponent>,
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// The names of the stores that references could name.
    pub stores: Vec<String>,
}

/// A component and its references.
#[derive(Debug)]
#[non_exhaustive]
pub struct InspectedComponent {
    /// The component.
    pub component: Component,
    /// Its references, in the order of its items.
    pub references: Vec<InspectedReference>,
}

/// A reference, and whether policy lets it through.
#[derive(Debug)]
#[non_exhaustive]
pub struct InspectedReference {
    /// The index of the item that holds it.
    pub item: usize,
    /// What it refers to.
    pub origin: Origin,
    /// Why it would be refused before any store is asked.
    pub refusal: Option<SecretError>,
}

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

pub(crate) struct Inner {
    pub(crate) guest: Guest,
    pub(crate) secrets: Secrets,
    pub(crate) mode: Mode,
    pub(crate) limits: Limits,
    pub(crate) observer: Option<Arc<dyn Observer>>,
    pub(crate) document_stores: Option<Arc<Grants>>,
    /// One permit for each instance that can live at a time.
    pub(crate) instances: Arc<Semaphore>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner")
            .field("mode", &self.mode)
            .field("limits", &self.limits)
            .field("stores", &self.secrets.names())
            .finish_non_exhaustive()
    }
}

/// Documents that are parsed, and which of their components are loaded.
pub(crate) struct Loaded {
    pub(crate) batches: Vec<Batch>,
    /// For each batch, the indices of the components that are loaded.
    pub(crate) selected: Vec<Vec<u32>>,
    pub(crate) problems: Vec<Problem>,
    pub(crate) budget: Budget,
    pub(crate) parse: Duration,
    _permit: Option<tokio::sync::OwnedSemaphorePermit>,
}

impl Loaded {
    /// What the selected components ask for, one for each reference.
    fn requests(&self) -> impl Iterator<Item = &Request> {
        self.batches
            .iter()
            .zip(&self.selected)
            .flat_map(|(batch, selected)| {
                let components = selected.iter().filter_map(|&index| batch.component(index));
                components.flat_map(|component| batch.wanted(component))
            })
    }
}

impl Resolver {
    /// Starts with no stores, an open policy and strict mode.
    pub fn builder() -> ResolverBuilder {
        ResolverBuilder::default()
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
        let mut loaded = self.load(documents, context, false).await;
        let run = Run::default();
        // Stores that stand in the documents are this call's alone.
        let secrets = match &inner.document_stores {
            Some(_) => inner.secrets.fork(),
            None => inner.secrets.clone(),
        };
        let before = secrets.calls();
        if let Some(grants) = &inner.document_stores {
            document_stores::open(self, &mut loaded, grants, &secrets, context, &run).await;
        }
        let references = loaded
            .requests()
            .map(|request| origin(request, &secrets))
            .collect();
        let loaded_components = loaded.selected.iter().map(Vec::len).sum();
        let fetching = Instant::now();
        let answers = self.fetch(&loaded, &secrets, context, &run).await;
        let fetch = fetching.elapsed();
        let placing = Instant::now();
        let components = self.place(&mut loaded, &answers, &secrets, context).await;
        loaded.problems.sort_by(|a, b| a.place.cmp(&b.place));
        let stats = Stats {
            components: loaded_components,
            backend_calls: secrets.calls() - before,
            cache_hits: run.hits(),
            parse: loaded.parse,
            fetch,
            place: placing.elapsed(),
        };
        if let Some(observer) = &inner.observer {
            let (components, problems) = (components.len(), loaded.problems.len());
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
            problems: loaded.problems,
            references,
            stores: secrets.names().into_iter().collect(),
            stats,
        }
    }

    /// Loads documents and says what they refer to, and what policy says of it. Asks no store.
    pub async fn inspect(&self, documents: Vec<Document>, context: &Context) -> Inspection {
        let mut loaded = self.load(documents, context, true).await;
        let secrets = match &self.inner.document_stores {
            Some(grants) => self.declared_stores(&mut loaded, grants),
            None => self.inner.secrets.clone(),
        };
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
                            origin: origin(wanted, &secrets),
                            refusal: secrets.check(wanted, context).err(),
                        })
                    });
                let references = references.collect();
                components.push(InspectedComponent {
                    component,
                    references,
                });
            }
        }
        loaded.problems.sort_by(|a, b| a.place.cmp(&b.place));
        Inspection {
            components,
            problems: loaded.problems,
            stores: secrets.names().into_iter().collect(),
        }
    }

    /// Opens the stores that documents declare, for reading from them by name: the resolver that
    /// it returns has them as its own.
    pub async fn with_stores_of(
        &self,
        documents: Vec<Document>,
        context: &Context,
    ) -> (Self, Vec<Problem>) {
        let mut loaded = self.load(documents, context, false).await;
        let secrets = self.inner.secrets.fork();
        if let Some(grants) = &self.inner.document_stores {
            let run = Run::default();
            document_stores::open(self, &mut loaded, grants, &secrets, context, &run).await;
        }
        let inner = Inner {
            guest: self.inner.guest.clone(),
            secrets,
            mode: self.inner.mode,
            limits: self.inner.limits.clone(),
            observer: self.inner.observer.clone(),
            document_stores: self.inner.document_stores.clone(),
            instances: Arc::clone(&self.inner.instances),
        };
        (Self::from_inner(inner), loaded.problems)
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
            .get(store, request, context, &Run::default())
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
        let (run, requests) = (Run::default(), requests.into_iter().collect());
        let answers = fetch_all(requests, &self.inner.secrets, context, &run, limits.fetches).await;
        Answers::new(answers, limits.handles)
    }

    /// The names of the stores, sorted.
    pub fn stores(&self) -> Vec<String> {
        self.inner.secrets.names().into_iter().collect()
    }

    /// The policy.
    pub fn policy(&self) -> &Policy {
        self.inner.secrets.policy()
    }

    /// Scopes of the policy whose store is not among these, and entries that none of these references
    /// uses: slips that leave a store open.
    pub fn unused_policy(&self, stores: &[String], references: &[Origin]) -> Vec<Problem> {
        let stores = stores.iter().cloned().collect();
        let mut used = BTreeSet::new();
        for reference in references {
            if let Origin::Secret { store, secret, .. } = reference {
                used.insert((store.clone(), secret.clone()));
            }
        }
        self.policy().unused(&stores, &used)
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.inner
    }

    /// Parses documents within the limits, and selects what is loaded. Components without a name
    /// are loaded by Dapr and then ignored.
    async fn load(
        &self,
        documents: Vec<Document>,
        context: &Context,
        with_nameless: bool,
    ) -> Loaded {
        let begin = Instant::now();
        let inner = &self.inner;
        let mut problems = Vec::new();
        let batches = batch::batches(self.admit(documents, &mut problems));
        let budget = Budget::of(&inner.limits);
        // All at once, so that two calls cannot wait for each other.
        let permits = u32::try_from(batches.len())
            .unwrap_or(INSTANCES)
            .min(INSTANCES);
        let permit = Arc::clone(&inner.instances)
            .acquire_many_owned(permits)
            .await
            .ok();
        let mut batches = batch::parse(&inner.guest, batches, &budget).await;
        for batch in &mut batches {
            problems.append(&mut batch.problems);
        }
        let components = batches.iter().flat_map(|batch| &batch.components);
        let exclusions = select(components, context, inner.mode, &mut problems);
        let mut exclusions = exclusions.into_iter();
        let mut selected = Vec::with_capacity(batches.len());
        for batch in &batches {
            let indices = (0_u32..).zip(&batch.components).zip(&mut exclusions);
            let chosen = indices.filter(|(_, exclusion)| match exclusion {
                None => true,
                Some(Exclusion::Nameless) => with_nameless,
                Some(_) => false,
            });
            selected.push(chosen.map(|((index, _), _)| index).collect());
        }
        Loaded {
            batches,
            selected,
            problems,
            budget,
            parse: begin.elapsed(),
            _permit: permit,
        }
    }

    /// Refuses documents that are over a limit; the others go on.
    fn admit(
        &self,
        documents: Vec<Document>,
        problems: &mut Vec<Problem>,
    ) -> Vec<(Arc<str>, wit::Document)> {
        let limits = &self.inner.limits;
        let mut admitted = Vec::with_capacity(documents.len().min(limits.documents));
        let mut total = 0_usize;
        for document in documents {
            let Document { name, text } = document;
            let refusal = if text.len() > limits.document_bytes {
                Some(format!(
                    "the document has more than {} bytes",
                    limits.document_bytes
                ))
            } else if admitted.len() >= limits.documents {
                Some(format!(
                    "there are more than {} documents",
                    limits.documents
                ))
            } else if total + text.len() > limits.total_bytes {
                Some(format!(
                    "the documents have more than {} bytes in all",
                    limits.total_bytes
                ))
            } else {
                None
            };
            let Some(message) = refusal else {
                total += text.len();
                let kind = wit::DocumentKind::Manifest;
                admitted.push((
                    Arc::clone(&name),
                    wit::Document {
                        name: String::new(),
                        kind,
                        text,
                    },
                ));
                continue;
            };
            problems.push(Problem {
                class: Class::DocumentLimit,
                severity: Severity::Error,
                place: Some(Place::new(&name, 1, 1)),
                message,
                hint: "split the documents, or raise the limit".to_owned(),
                subject: None,
            });
        }
        admitted
    }

    /// Fetches what the selected components ask for: each secret once.
    async fn fetch(
        &self,
        loaded: &Loaded,
        secrets: &Secrets,
        context: &Context,
        run: &Run,
    ) -> AnswerMap {
        let wanted = loaded.requests().cloned().collect();
        fetch_all(wanted, secrets, context, run, self.inner.limits.fetches).await
    }

    /// Lets the guest say where each answer belongs, and puts the values there.
    async fn place(
        &self,
        loaded: &mut Loaded,
        answers: &AnswerMap,
        secrets: &Secrets,
        context: &Context,
    ) -> Vec<ResolvedComponent> {
        let inner = &self.inner;
        let selected = std::mem::take(&mut loaded.selected);
        let work = std::mem::take(&mut loaded.batches)
            .into_iter()
            .zip(&selected)
            .map(|(batch, selected)| {
                let indices = batch.with_requests(selected);
                let answers = batch.answers(answers, inner.limits.handles);
                (batch, indices, answers)
            });
        let placed = batch::resolve(&inner.guest, work.collect(), &loaded.budget).await;
        let mut components = Vec::new();
        for ((batch, mut placement), selected) in placed.into_iter().zip(selected) {
            let Batch {
                components: parsed,
                requests,
                ..
            } = batch;
            for (index, component) in (0_u32..).zip(parsed) {
                if selected.binary_search(&index).is_err() {
                    continue;
                }
                if let Some(error) = placement.failures.remove(&index) {
                    loaded
                        .problems
                        .push(batch::failed(component.position, error));
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
                    Finished::Resolved(component) => components.push(component),
                    Finished::Failed | Finished::Parked => {}
                }
            }
        }
        components
    }

    /// The stores that documents declare, without opening them.
    fn declared_stores(&self, loaded: &mut Loaded, grants: &Grants) -> Secrets {
        let secrets = self.inner.secrets.fork();
        let problems = document_stores::kind_problems(loaded, grants, &secrets);
        for component in document_stores::declared(loaded, &secrets) {
            match document_stores::check_kind(component, grants) {
                Ok(()) => secrets.insert(&component.name, Arc::new(document_stores::Unopened)),
                Err(error) => secrets.insert_broken(&component.name, error),
            }
        }
        loaded.problems.extend(problems);
        secrets
    }
}

/// Asks for values, several at a time.
pub(crate) async fn fetch_all(
    wanted: BTreeSet<Request>,
    secrets: &Secrets,
    context: &Context,
    run: &Run,
    at_a_time: usize,
) -> AnswerMap {
    stream::iter(wanted)
        .map(|wanted| async move {
            let value = secrets.value(&wanted, context, run).await;
            (wanted, value)
        })
        .buffer_unordered(at_a_time.max(1))
        .collect()
        .await
}

/// What each request is answered with.
pub(crate) type AnswerMap = BTreeMap<Request, Result<SecretValue, SecretError>>;

/// Where a value comes from, with the store that is asked in fact.
pub(crate) fn origin(wanted: &Request, secrets: &Secrets) -> Origin {
    match wanted {
        Request::Variable(name) => Origin::Variable(name.clone()),
        Request::Key {
            store, secret, key, ..
        } => Origin::Secret {
            store: secrets.effective_store(store).to_owned(),
            secret: secret.clone(),
            key: key.clone(),
        },
    }
}
