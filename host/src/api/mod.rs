//! Dapr's APIs, for unmodified Dapr SDKs: secrets, configuration, health, metadata and shutdown over
//! HTTP and gRPC, as Dapr 1.18 answers them.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! use keyref::api::{Ending, Identity, Loaded, Options, Server};
//! use keyref::Resolver;
//! use keyref::stores::Memory;
//!
//! let server = Server::bind(Options::new(Identity::new("myapp"))).await?;
//! let handle = server.handle();
//! let address = server.http()[0];
//! let running = tokio::spawn(server.run());
//!
//! let store = Memory::new().with("redis", [("password", "s3cr3t")]);
//! let resolver = Resolver::builder().store("vault", store).build()?;
//! handle.load(Loaded::new(resolver, Vec::new()));
//! // Now `http://ADDRESS/v1.0/secrets/vault/redis` answers `{"password":"s3cr3t"}`.
//! # assert!(address.ip().is_loopback());
//!
//! handle.shut_down();
//! assert_eq!(running.await?, Ending::Finished);
//! # Ok(()) })
//! # }
//! ```

mod access;
mod app;
mod ascii_json;
mod asked;
mod asked_host;
mod audit;
mod components;
mod configuration;
mod cors;
mod end;
mod fault;
mod go;
mod grant;
mod grpc;
mod head_time;
mod http;
mod identity;
mod items;
mod json;
mod listener;
mod loaded;
mod looks;
mod malformed;
mod metadata;
pub(crate) mod metrics;
mod route;
mod server;
mod service;
mod settings;
mod status;
mod stream;
mod tls;
mod token;
mod traces;
mod unix;
mod unread;

pub use self::access::{Access, ApiLists, ApiRule};
pub use self::app::AppHealthCheck;
pub use self::audit::{Audit, AuditCounts, AuditDecision, AuditLog, AuditRecord, Caller};
pub use self::components::ComponentsOptions;
pub use self::cors::Origins;
pub use self::identity::Identity;
pub use self::loaded::{Loaded, LoadedComponent};
pub use self::metrics::{
    LabelRule, MetricsSettings, PathPattern, UnreadablePath, UnreadablePattern,
};
pub use self::server::{Ending, Handle, Options, ServeError, Server};
pub use self::service::DAPR_VERSION;
pub use self::settings::{CallLog, Settings, denied_types};
pub use self::status::{Reload, StatusOptions};
pub use self::tls::TlsFiles;
pub use self::token::{Token, TokenError};
pub use self::traces::TracesSettings;
pub use crate::resiliency::Resiliency;
