//! keyref's guest: loads Dapr manifests and resolves the secret references in them, without ever
//! reading a secret.
//!
//! Compiled for `wasm32-unknown-unknown` and wrapped into a component it implements the world
//! `secrets-resolver` of `wit/`: one import, `secret-store`, and one export, `resolver`. Compiled
//! for the host it is an ordinary library, so that its logic is tested and measured without Wasm.
//!
//! What it accepts, and what each value becomes, is what Dapr 1.18.3 does. Text flows one way:
//! `split` into parts, `yaml` to events, `tree` to values, `schema` to check their shape,
//! `component` to resources, `reference` to requests, `resolve` to places for the answers.

#![no_std]

extern crate alloc;
// Natively the standard library brings the allocator and the panic handler.
#[cfg(not(target_family = "wasm"))]
extern crate std;

#[cfg(target_family = "wasm")]
mod allocator;
mod base64;
pub mod bindings;
mod component;
mod configuration;
#[cfg(target_family = "wasm")]
mod export;
mod fault;
mod json;
mod parse;
mod problem;
mod reference;
pub mod resolve;
#[cfg(target_family = "wasm")]
mod runtime;
mod scalar;
mod schema;
mod split;
mod timestamp;
mod tree;
mod yaml;

use alloc::vec::Vec;

use bindings::{Component, Configuration, Document, Problem, Request};
use resolve::{Resolution, SecretStore};

/// Documents, parsed once.
#[derive(Debug)]
pub struct DocumentSet {
    components: Vec<Component>,
    configurations: Vec<Configuration>,
    problems: Vec<Problem>,
    requests: Vec<Request>,
}

impl DocumentSet {
    /// Parses documents; faults in them become problems.
    pub fn parse(documents: &[Document]) -> Self {
        let parse::Parsed {
            mut components,
            configurations,
            problems,
        } = parse::parse(documents);
        let requests = reference::requests(&mut components);
        Self {
            components,
            configurations,
            problems,
            requests,
        }
    }

    /// Every resource that can hold references, in the order of the documents.
    pub fn components(&self) -> &[Component] {
        &self.components
    }

    /// Every Configuration, in the order of the documents.
    pub fn configurations(&self) -> &[Configuration] {
        &self.configurations
    }

    /// What is wrong with the documents, in their order.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Each distinct request of all components, once.
    pub fn requests(&self) -> &[Request] {
        &self.requests
    }

    /// Resolves the references of the components at these indices, asking `store` once.
    pub fn resolve<S: SecretStore>(
        &self,
        components: &[u32],
        store: &mut S,
    ) -> Resolution<S::Secret> {
        resolve::resolve(&self.components, &self.requests, components, store)
    }
}
