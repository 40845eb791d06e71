//! The component's edge: the contract met by [`DocumentSet`], and its import as a [`SecretStore`].
#![expect(unsafe_code, reason = "the generated macro exports symbols by name")]

use alloc::vec::Vec;

use crate::DocumentSet;
use crate::bindings::exports::keyref::secrets::resolver::{Guest, GuestDocumentSet};
use crate::bindings::keyref::secrets::secret_store;
use crate::bindings::{
    Answer, Component, Configuration, Document, Failure, Outcome, Problem, Request, Secret,
};
use crate::resolve::{Resolution, SecretStore};

struct Exports;

impl Guest for Exports {
    type DocumentSet = DocumentSet;
}

impl GuestDocumentSet for DocumentSet {
    fn new(documents: Vec<Document>) -> Self {
        Self::parse(&documents)
    }

    fn components(&self) -> Vec<Component> {
        self.components().to_vec()
    }

    fn configurations(&self) -> Vec<Configuration> {
        self.configurations().to_vec()
    }

    fn problems(&self) -> Vec<Problem> {
        self.problems().to_vec()
    }

    fn requests(&self) -> Vec<Request> {
        self.requests().to_vec()
    }

    fn resolve(&self, components: Vec<u32>) -> Outcome {
        let Resolution {
            answers,
            components,
        } = self.resolve(&components, &mut Import);
        let answers = answers
            .into_iter()
            .map(|(request, secret)| Answer { request, secret })
            .collect();
        Outcome {
            answers,
            components,
        }
    }
}

/// The one import as the store that resolving asks.
struct Import;

impl SecretStore for Import {
    type Secret = Secret;

    fn get_many(&mut self, requests: &[Request]) -> Vec<Result<Secret, Failure>> {
        secret_store::get_many(requests)
    }
}

crate::bindings::export!(Exports with_types_in crate::bindings);
