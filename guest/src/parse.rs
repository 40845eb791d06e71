//! Documents into components, configurations and problems.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use crate::bindings::{Component, ComponentKind, Configuration, Document, DocumentKind, Problem};
use crate::component::{self, Identity};
use crate::fault::Fault;
use crate::problem::{position, refused, warning};
use crate::schema::Checker;
use crate::split::{self, Part};
use crate::tree::{Id, Tree, Value};
use crate::yaml::Mark;
use crate::{configuration, schema};

/// A text with more parts than this is read only so far.
const MAX_PARTS: usize = 10_000;

const API_VERSION: &str = "dapr.io/v1alpha1";

/// What documents hold.
#[derive(Debug, Default)]
pub(crate) struct Parsed {
    pub(crate) components: Vec<Component>,
    pub(crate) configurations: Vec<Configuration>,
    pub(crate) problems: Vec<Problem>,
}

/// Parses documents in order. What cannot be loaded becomes a problem; the rest is loaded.
pub(crate) fn parse(documents: &[Document]) -> Parsed {
    let mut parsed = Parsed::default();
    for (index, document) in (0..).zip(documents) {
        match document.kind {
            DocumentKind::Manifest => parsed.manifest(index, document),
            DocumentKind::Configuration => parsed.configuration(index, document),
        }
    }
    parsed
}

impl Parsed {
    fn manifest(&mut self, document: u32, manifest: &Document) {
        for (count, part) in split::parts(&manifest.text).enumerate() {
            if count == MAX_PARTS {
                let fault = Fault::limit(Mark::default(), "has more than 10000 parts");
                self.problems.push(refused(&fault, document, part.line));
                return;
            }
            if let Err(faults) = self.part(document, part) {
                let problems = faults
                    .iter()
                    .map(|fault| refused(fault, document, part.line));
                self.problems.extend(problems);
            }
            if part.drops_text {
                let end = Mark {
                    line: split::line_breaks(part.text).saturating_add(1),
                    column: 3,
                };
                self.problems.push(warning(
                    document,
                    position(end, part.line),
                    "what follows these dashes is dropped",
                    "move it to the next line",
                ));
            }
        }
    }

    fn part(&mut self, document: u32, part: Part<'_>) -> Result<(), Vec<Fault>> {
        let text = decode_text(part.text).map_err(|fault| vec![fault])?;
        let Some(tree) = Tree::parse(&text).map_err(|fault| vec![fault])? else {
            return Ok(());
        };
        let mut checker = Checker::new(&tree);
        checker.resource();
        let identity = component::identity(&tree);
        let kind = match (identity.api_version.as_str(), identity.kind.as_str()) {
            (API_VERSION, "Component") => ComponentKind::Component,
            (API_VERSION, "HTTPEndpoint") => ComponentKind::HttpEndpoint,
            other => {
                checker.finish()?;
                if other == (API_VERSION, "Configuration") {
                    self.configuration_among_manifests(document, part.line, &tree);
                } else {
                    let near_miss = near_miss(&identity, document, part.line, &tree);
                    self.problems.extend(near_miss);
                }
                return Ok(());
            }
        };
        check_name(&identity, tree.root(), &mut checker);
        let shape = match kind {
            ComponentKind::Component => &schema::COMPONENT,
            ComponentKind::HttpEndpoint => &schema::HTTP_ENDPOINT,
        };
        checker.check(tree.root(), shape, "spec");
        checker.finish()?;
        let mut warnings = Vec::new();
        let component = component::decode(&tree, kind, document, part.line, &mut warnings)
            .map_err(|fault| vec![fault])?;
        self.problems.append(&mut warnings);
        self.components.push(component);
        Ok(())
    }

    fn configuration(&mut self, document: u32, configuration: &Document) {
        let parsed = decode_text(&configuration.text).and_then(|text| {
            let tree = Tree::parse(&text)?;
            let warnings = &mut self.problems;
            // What holds nothing is no configuration: all stores would be open.
            let tree = tree.filter(|tree| match tree.value(tree.root()) {
                Value::Null => false,
                Value::Mapping(mut entries) => entries.next().is_some(),
                _ => true,
            });
            tree.map(|tree| {
                configuration::decode(&tree, DocumentKind::Configuration, document, 0, warnings)
            })
            .transpose()
        });
        match parsed {
            Ok(configuration) => self.configurations.extend(configuration),
            Err(mut fault) => {
                // A place in the text with its variables filled in, which nobody has seen.
                fault.context = None;
                self.problems.push(refused(&fault, document, 0));
            }
        }
    }

    /// Dapr does not apply a Configuration that stands among the resources.
    fn configuration_among_manifests(&mut self, document: u32, line: u32, tree: &Tree) {
        self.problems.push(warning(
            document,
            position(tree.mark(tree.root()), line),
            "a Configuration among the documents is not applied",
            "give it as the configuration",
        ));
        if let Ok(configuration) = configuration::decode(
            tree,
            DocumentKind::Manifest,
            document,
            line,
            &mut Vec::new(),
        ) {
            self.configurations.push(configuration);
        }
    }
}

/// A resource that is skipped and was probably meant to be loaded.
fn near_miss(identity: &Identity, document: u32, line: u32, tree: &Tree) -> Option<Problem> {
    let dapr_group = identity.api_version.starts_with("dapr.io/");
    let nearly = |kind: &str| identity.kind.eq_ignore_ascii_case(kind);
    if !(nearly("Component") || nearly("HTTPEndpoint"))
        || !(dapr_group || identity.api_version.is_empty())
    {
        return None;
    }
    Some(warning(
        document,
        position(tree.mark(tree.root()), line),
        "this is skipped: its `apiVersion` or `kind` is not exactly Dapr's",
        "write `apiVersion: dapr.io/v1alpha1` and `kind: Component`",
    ))
}

/// Kubernetes' rule for a name that is part of a path, which Dapr applies to every resource.
fn check_name(identity: &Identity, root: Id, checker: &mut Checker<'_>) {
    let name = identity.name.as_str();
    if name == "." || name == ".." || name.contains(['/', '%']) {
        checker.schema(
            identity.name_at.unwrap_or(root),
            "`metadata.name` may not be `.` or `..`, nor contain `/` or `%`",
        );
    }
}

/// The text as UTF-8 without a byte order mark.
fn decode_text(text: &[u8]) -> Result<Cow<'_, [u8]>, Fault> {
    match text {
        [0xFF, 0xFE, text @ ..] => utf16(text, u16::from_le_bytes),
        [0xFE, 0xFF, text @ ..] => utf16(text, u16::from_be_bytes),
        text => Ok(Cow::Borrowed(
            text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text),
        )),
    }
}

fn utf16(text: &[u8], unit: fn([u8; 2]) -> u16) -> Result<Cow<'_, [u8]>, Fault> {
    let (pairs, rest) = text.as_chunks::<2>();
    let decoded: Result<String, _> =
        char::decode_utf16(pairs.iter().map(|&pair| unit(pair))).collect();
    match decoded {
        Ok(text) if rest.is_empty() => Ok(Cow::Owned(text.into_bytes())),
        _ => Err(Fault::syntax(Mark::default(), "not valid UTF-16")),
    }
}
