//! The contract in Rust, generated from `wit/`.
#![expect(
    missing_docs,
    reason = "generated code documents what WIT documents, and not its own helpers"
)]
#![expect(clippy::pedantic, clippy::mem_forget, reason = "generated code")]

wit_bindgen::generate!({
    path: "../wit",
    world: "secrets-resolver",
});

pub use self::exports::keyref::secrets::resolver::{
    Answer, Component, ComponentKind, Configuration, Document, DocumentKind, Item, ItemPlace,
    Outcome, Part, Position, Problem, ProblemClass, ResolvedComponent, ResolvedItem, ScopeEntry,
    SecretKeyRef, SecretsScope, Severity,
};
pub use self::keyref::secrets::secret_store::{Failure, Request, Secret, SecretKey, Source};
