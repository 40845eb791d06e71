//! `spec.secrets.scopes` of a Dapr Configuration.
//!
//! Dapr reads this file with another parser than its resources (`yaml.v3`): keys match in their
//! exact case, a key twice is an error, and a scalar that stands for a string keeps its text.

use alloc::borrow::ToOwned as _;
use alloc::string::String;
use alloc::vec::Vec;

use crate::bindings::{Configuration, DocumentKind, Problem, ScopeEntry, SecretsScope};
use crate::fault::Fault;
use crate::problem::{position, warning};
use crate::tree::{Id, Tree, Value};

/// Where a slip would leave stores open: the fields that Dapr knows there.
const ROOT: &[&str] = &["apiVersion", "kind", "metadata", "spec", "status"];
const SPEC: &[&str] = &[
    "accessControl",
    "api",
    "appHttpPipeline",
    "components",
    "features",
    "httpPipeline",
    "logging",
    "metric",
    "metrics",
    "mtls",
    "nameResolution",
    "secrets",
    "tracing",
    "wasm",
    "workflow",
];
const SECRETS: &[&str] = &["scopes"];
const SCOPE: &[&str] = &[
    "allowedSecrets",
    "defaultAccess",
    "deniedSecrets",
    "storeName",
];

/// Reads a configuration whose first line is `line` of its document. Dapr ignores what it does not
/// know without a word; here a warning says so.
pub(crate) fn decode(
    tree: &Tree,
    kind: DocumentKind,
    document: u32,
    line: u32,
    warnings: &mut Vec<Problem>,
) -> Result<Configuration, Fault> {
    let reader = Reader {
        tree,
        document,
        line,
    };
    let root = tree.root();
    reader.warn_of_unknown(root, ROOT, warnings);
    if let Some(found) = reader.field(root, "kind")?
        && tree.source(found) != Some("Configuration")
    {
        warnings.push(warning(
            document,
            position(tree.mark(found), line),
            "this is no Configuration",
            "write `kind: Configuration`, or give another file",
        ));
    }
    let mut configuration = Configuration {
        name: String::new(),
        scopes: None,
        document,
        kind,
    };
    if let Some(metadata) = reader.field(root, "metadata")?
        && let Some(name) = reader.field(metadata, "name")?
    {
        configuration.name = reader.text(name, "name")?;
    }
    let Some(spec) = reader.field(root, "spec")? else {
        return Ok(configuration);
    };
    reader.warn_of_unknown(spec, SPEC, warnings);
    let Some(secrets) = reader.field(spec, "secrets")? else {
        return Ok(configuration);
    };
    reader.warn_of_unknown(secrets, SECRETS, warnings);
    if let Some(scopes) = reader.field(secrets, "scopes")? {
        if let Value::Sequence(scopes) = tree.value(scopes) {
            for scope in scopes {
                reader.warn_of_unknown(scope, SCOPE, warnings);
            }
        }
        configuration.scopes = Some(reader.scopes(scopes)?);
    }
    Ok(configuration)
}

struct Reader<'t> {
    tree: &'t Tree,
    document: u32,
    line: u32,
}

impl Reader<'_> {
    fn scopes(&self, id: Id) -> Result<Vec<SecretsScope>, Fault> {
        self.list(id, "scopes", |scope| {
            let text = |field| match self.field(scope, field)? {
                Some(id) => self.text(id, field),
                None => Ok(String::new()),
            };
            let names = |field| match self.field(scope, field)? {
                Some(id) => self.list(id, field, |id| self.entry(id, field)),
                None => Ok(Vec::new()),
            };
            Ok(SecretsScope {
                store_name: text("storeName")?,
                default_access: text("defaultAccess")?,
                allowed_secrets: names("allowedSecrets")?,
                denied_secrets: names("deniedSecrets")?,
                document: self.document,
                position: position(self.tree.mark(scope), self.line),
            })
        })
    }

    fn warn_of_unknown(&self, id: Id, known: &[&str], warnings: &mut Vec<Problem>) {
        let Value::Mapping(entries) = self.tree.value(id) else {
            return;
        };
        let unknown = entries.filter(|(key, ..)| !known.contains(key));
        warnings.extend(unknown.map(|(_, mark, _)| {
            warning(
                self.document,
                position(mark, self.line),
                "this field is not known here and has no effect",
                &["known here: `", &known.join("`, `"), "`"].concat(),
            )
        }));
    }

    fn entry(&self, id: Id, field: &str) -> Result<ScopeEntry, Fault> {
        Ok(ScopeEntry {
            name: self.text(id, field)?,
            position: position(self.tree.mark(id), self.line),
        })
    }

    /// A field of a mapping. A policy must not be open because of a slip, so what is no mapping,
    /// and a key that is there twice, are refused.
    fn field(&self, id: Id, name: &str) -> Result<Option<Id>, Fault> {
        match self.tree.value(id) {
            Value::Null => Ok(None),
            Value::Mapping(mut entries) => {
                if let Some(mark) = self.tree.repeated_key(id) {
                    return Err(Fault::schema(mark, "this key stands twice"));
                }
                Ok(entries
                    .find(|(key, ..)| *key == name)
                    .map(|(_, _, value)| value))
            }
            _ => Err(self.fault(id, ["a mapping with `", name, "` is expected"].concat())),
        }
    }

    fn list<T>(
        &self,
        id: Id,
        field: &str,
        decode: impl Fn(Id) -> Result<T, Fault>,
    ) -> Result<Vec<T>, Fault> {
        match self.tree.value(id) {
            Value::Null => Ok(Vec::new()),
            Value::Sequence(elements) => elements.map(decode).collect(),
            _ => Err(self.fault(id, ["`", field, "` takes a list"].concat())),
        }
    }

    fn text(&self, id: Id, field: &str) -> Result<String, Fault> {
        match (self.tree.value(id), self.tree.source(id)) {
            (Value::Null, _) => Ok(String::new()),
            (_, Some(source)) => Ok(source.to_owned()),
            _ => Err(self.fault(id, ["`", field, "` takes a string"].concat())),
        }
    }

    fn fault(&self, id: Id, message: String) -> Fault {
        Fault::schema(self.tree.mark(id), message)
    }
}
