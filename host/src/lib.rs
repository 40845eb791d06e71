//! Resolves `secretKeyRef` in Dapr component manifests inside a WebAssembly sandbox that never
//! sees a secret.
//!
//! A small guest parses the documents and says which secrets they ask for; this crate decides
//! whether they may, fetches them, and hands the guest opaque handles to place. Values appear only
//! where you reveal them.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! use keyref::stores::Memory;
//! use keyref::{Context, Document, Resolver, Value};
//!
//! // Stores come from the builder: a document grants itself nothing.
//! let resolver = Resolver::builder()
//!     .store("vault", Memory::new().with("redis", [("password", "s3cr3t")]))
//!     .build()?;
//!
//! let manifest = "
//! apiVersion: dapr.io/v1alpha1
//! kind: Component
//! metadata: {name: statestore}
//! spec:
//!   type: state.redis
//!   version: v1
//!   metadata:
//!   - {name: redisHost, value: 'localhost:6379'}
//!   - name: redisPassword
//!     secretKeyRef: {name: redis, key: password}
//! auth: {secretStore: vault}
//! ";
//! let documents = vec![Document::new("statestore.yaml", manifest)];
//! let resolution = resolver.resolve(documents, &Context::new()).await;
//!
//! // Every failure of every document is here, each with its class, place and a hint.
//! assert!(resolution.problems.is_empty());
//! let statestore = &resolution.components[0];
//! if let Some(Value::Secret(password)) =
//!     statestore.property("redisPassword").map(|property| &property.value)
//! {
//!     assert_eq!(format!("{password:?}"), "[redacted]");
//!     assert_eq!(password.reveal(), b"s3cr3t");
//! }
//! # Ok(()) })
//! # }
//! ```
//!
//! In reading order: [`Resolver`] and [`ResolverBuilder`], [`component`] for what comes out,
//! [`problem`] and [`error`] for what goes wrong, [`policy`] for who may read what, [`stores`] for
//! where secrets come from, [`cache`] for what of theirs is kept, [`secret`] for values, [`observer`] for logs and metrics of your own,
//! [`health`] for how stores answer, [`guest`] for other guests, and with the feature `serve` `api` for Dapr's own APIs and
//! `configuration` for stores of items that change.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod advice;
#[cfg(feature = "serve")]
pub mod api;
mod aside;
mod batch;
mod builder;
pub mod cache;
#[cfg(any(feature = "kubernetes", feature = "serve"))]
mod client_tls;
pub mod component;
mod config;
#[cfg(feature = "serve")]
pub mod configuration;
mod context;
mod deadline;
mod denied_types;
mod document;
mod document_stores;
mod earlier;
pub mod env;
pub mod error;
mod expansion;
mod failure;
mod finish;
pub mod guest;
pub mod health;
mod inflight;
mod inner;
mod inspection;
mod limits;
mod load;
mod mode;
pub mod observer;
mod opened_store;
mod order;
#[cfg(any(
    feature = "configuration-postgresql",
    feature = "configuration-redis",
    feature = "kubernetes",
    feature = "serve"
))]
mod pause;
mod placement;
pub mod policy;
pub mod problem;
#[cfg(any(feature = "kubernetes", feature = "serve"))]
mod reason;
mod request;
#[cfg(feature = "serve")]
mod resiliency;
mod resolution;
mod resolver;
mod run;
mod schedule;
pub mod secret;
mod secrets;
mod select;
pub mod stamp;
pub mod stores;
pub mod suggest;
mod unquote;

pub use crate::builder::{BuildError, ResolverBuilder};
pub use crate::cache::{Cache, CacheRule};
pub use crate::component::{ResolvedComponent, Value};
pub use crate::context::Context;
pub use crate::denied_types::DeniedTypes;
pub use crate::document::Document;
pub use crate::earlier::Earlier;
pub use crate::inspection::{InspectedComponent, InspectedReference, Inspection};
pub use crate::limits::Limits;
pub use crate::mode::Mode;
pub use crate::opened_store::OpenedStore;
pub use crate::request::Request;
pub use crate::resolution::{Resolution, Stats};
pub use crate::resolver::Resolver;
