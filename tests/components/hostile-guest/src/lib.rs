//! Another implementation of the world `secrets-resolver`, which misbehaves as its documents say.
//!
//! The first line of a document names a misbehaviour and may name the component, as in
//! `#swap redis`. Each further line is a reference: `STORE/SECRET/KEY`, with `@NAMESPACE` after it
//! or without, or `$VARIABLE`. Every document gives one component with an item for each reference,
//! and a last item, `sets`, whose value counts the sets of documents that this instance has seen
//! before.
//!
//! `#honest` does what the contract says. What the others do stands beside their names, in the
//! order in which a host meets them: `parse`, `describe`, `place`.

mod bindings {
    wit_bindgen::generate!({
        path: ["wit/io", "wit/clocks", "../../../wit"],
        inline: "
            package keyref:hostile-guest;

            world hostile-guest {
                include keyref:secrets/secrets-resolver@0.1.0;
                // As guests have it that were built for WASI.
                import wasi:clocks/monotonic-clock@0.2.6;
            }
        ",
        generate_all,
    });
}
mod describe;
mod memory;
mod parse;
mod place;
mod wait;

use bindings::exports::keyref::secrets::resolver::{
    Component, Configuration, Document, Guest, GuestDocumentSet, Outcome, Problem,
};
use bindings::keyref::secrets::secret_store::Request;
use parse::Text;

bindings::export!(HostileGuest with_types_in bindings);

struct HostileGuest;

/// Documents, and what they refer to.
struct Set {
    texts: Vec<Text>,
    /// Each distinct reference, once.
    references: Vec<String>,
}

impl Guest for HostileGuest {
    type DocumentSet = Set;
}

impl GuestDocumentSet for Set {
    fn new(documents: Vec<Document>) -> Self {
        parse::parse(&documents)
    }

    fn components(&self) -> Vec<Component> {
        describe::components(self)
    }

    fn configurations(&self) -> Vec<Configuration> {
        Vec::new()
    }

    fn problems(&self) -> Vec<Problem> {
        describe::problems(self)
    }

    fn requests(&self) -> Vec<Request> {
        describe::requests(self)
    }

    fn resolve(&self, components: Vec<u32>) -> Outcome {
        place::resolve(self, &components)
    }
}
