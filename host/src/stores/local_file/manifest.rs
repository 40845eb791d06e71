//! Manifests of Kubernetes secrets, as `kubectl apply` takes them.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::Secrets;
use super::node::Node;
use super::source::Source;
use crate::problem::printable;
use crate::secret::{Secret, SecretValue};
use crate::stores::StoreError;

/// Whether a document is a secret, or a list that can hold secrets.
pub(super) fn is_manifest(document: &Node) -> bool {
    text(document, "apiVersion") == Some("v1")
        && matches!(
            text(document, "kind"),
            Some("Secret" | "SecretList" | "List")
        )
}

/// The secrets among some documents, by name. Other resources are left out.
pub(super) fn read(source: &Source, documents: &[Node]) -> Result<Secrets, StoreError> {
    let mut secrets = Secrets::new();
    for document in documents {
        if !matches!(document, Node::Null) {
            read_resource(source, document, &mut secrets)?;
        }
    }
    Ok(secrets)
}

fn read_resource(
    source: &Source,
    resource: &Node,
    secrets: &mut Secrets,
) -> Result<(), StoreError> {
    let Some(kind) = text(resource, "kind") else {
        return Err(source.error("holds Kubernetes secrets and something that is no resource"));
    };
    if !is_manifest(resource) {
        return Ok(());
    }
    if kind == "Secret" {
        return read_secret(source, resource, secrets);
    }
    let items = match resource.get("items") {
        None | Some(Node::Null) => return Ok(()),
        Some(Node::List(items)) => items,
        Some(_) => return Err(source.error(format_args!("holds a `{kind}` without a list"))),
    };
    for item in items {
        match text(item, "kind") {
            // Items of a list of one kind do not repeat it.
            None if kind == "SecretList" => read_secret(source, item, secrets)?,
            Some("Secret") if is_manifest(item) => read_secret(source, item, secrets)?,
            Some(_) => {}
            None => {
                return Err(source.error(format_args!("holds a `{kind}` with an item of no kind")));
            }
        }
    }
    Ok(())
}

fn read_secret(source: &Source, manifest: &Node, secrets: &mut Secrets) -> Result<(), StoreError> {
    let name = manifest
        .get("metadata")
        .and_then(|metadata| text(metadata, "name"));
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        return Err(source.error("holds a Kubernetes secret without a name"));
    };
    let Entry::Vacant(entry) = secrets.entry(name.to_owned()) else {
        // In two namespaces as well: nobody who asks this store says which one is meant.
        return Err(source
            .error(format_args!(
                "holds several secrets that are called `{}`",
                printable(name)
            ))
            .with_hint("a file has no namespaces: give each namespace a file and a store"));
    };
    let mut keys = BTreeMap::new();
    for (key, encoded) in texts(source, name, manifest, "data")? {
        let value = decode(encoded).ok_or_else(|| {
            let (name, key) = (printable(name), printable(key));
            source
                .error(format_args!(
                    "holds a secret `{name}` whose key `{key}` is not base64"
                ))
                .with_hint("plain text belongs in `stringData`")
        })?;
        keys.insert(key, value);
    }
    for (key, value) in texts(source, name, manifest, "stringData")? {
        keys.insert(key, SecretValue::from(value));
    }
    entry.insert(keys.into_iter().collect::<Secret>());
    Ok(())
}

/// The entries of a field of a secret. A key without a value is absent.
fn texts<'a>(
    source: &Source,
    name: &str,
    manifest: &'a Node,
    field: &str,
) -> Result<Vec<(&'a str, &'a str)>, StoreError> {
    let entries = match manifest.get(field) {
        None | Some(Node::Null) => return Ok(Vec::new()),
        Some(Node::Map(entries)) => entries,
        Some(_) => {
            let name = printable(name);
            return Err(source.error(format_args!(
                "holds a secret `{name}` whose `{field}` is no mapping"
            )));
        }
    };
    let entries = entries
        .iter()
        .filter(|(_, value)| !matches!(value, Node::Null));
    let text = |(key, value): (&'a String, &'a Node)| {
        value
            .text()
            .map(|text| (key.as_str(), text))
            .ok_or_else(|| {
                let (name, key) = (printable(name), printable(key));
                source
                    .error(format_args!(
                        "holds a secret `{name}` whose key `{key}` is not text"
                    ))
                    .with_hint("write a number or a boolean in quotes")
            })
    };
    entries.map(text).collect()
}

/// Base64 as Kubernetes reads it: line breaks count for nothing.
fn decode(encoded: &str) -> Option<SecretValue> {
    let mut packed = Zeroizing::new(Vec::with_capacity(encoded.len()));
    packed.extend(
        encoded
            .bytes()
            .filter(|byte| !matches!(byte, b'\r' | b'\n')),
    );
    let decoded = Zeroizing::new(STANDARD.decode(&*packed).ok()?);
    Some(SecretValue::new(decoded.as_slice()))
}

fn text<'a>(node: &'a Node, key: &str) -> Option<&'a str> {
    node.get(key)?.text()
}

#[cfg(test)]
mod tests {
    use super::super::tests::listing;
    use super::super::{LocalFileOptions, yaml};
    use crate::stores::StoreError;
    use crate::stores::local_file::source::Source;

    const HEAD: &str = "apiVersion: v1\nkind: Secret\n";

    fn read(text: &str) -> Result<Vec<String>, StoreError> {
        let source = Source::of("s.yaml", text.as_bytes());
        yaml::read(&source, &LocalFileOptions::default()).map(|secrets| listing(&secrets))
    }

    #[test]
    fn secret_has_the_keys_of_data_and_then_of_string_data() {
        let text = format!(
            "{HEAD}metadata: {{name: redis, namespace: a}}\n\
             data: {{password: cHc=, none: }}\n\
             stringData: {{user: \"42\", password: wins}}\n"
        );
        assert_eq!(
            read(&text).unwrap(),
            ["redis/password=wins", "redis/user=42"]
        );
    }

    #[test]
    fn base64_may_have_line_breaks() {
        let text = format!("{HEAD}metadata: {{name: n}}\ndata:\n  k: |\n    aGVs\n    bG8=\n");
        assert_eq!(read(&text).unwrap(), ["n/k=hello"]);
    }

    #[test]
    fn secrets_are_found_among_other_resources_and_in_lists() {
        let text = format!(
            "apiVersion: apps/v1\nkind: Deployment\n---\n---\n\
             {HEAD}metadata: {{name: a}}\nstringData: {{k: v}}\n---\n\
             apiVersion: v1\nkind: List\nitems:\n\
             - {{apiVersion: v1, kind: Secret, metadata: {{name: b}}, stringData: {{k: v}}}}\n\
             - {{apiVersion: v1, kind: ConfigMap, metadata: {{name: b}}}}\n---\n\
             apiVersion: v1\nkind: SecretList\nitems:\n\
             - {{metadata: {{name: c}}, data: {{k: dg==}}}}\n"
        );
        assert_eq!(read(&text).unwrap(), ["a/k=v", "b/k=v", "c/k=v"]);
    }

    #[test]
    fn resource_of_another_kind_is_a_tree() {
        assert_eq!(
            read("kind: Secret\nk: v").unwrap(),
            ["k/k=v", "kind/kind=Secret"]
        );
    }

    #[test]
    fn manifests_that_kubernetes_would_refuse_are_refused() {
        let named = format!("{HEAD}metadata: {{name: n}}\n");
        for (text, what) in [
            (
                format!("{HEAD}data: {{}}"),
                "holds a Kubernetes secret without a name",
            ),
            (
                format!("{named}---\n{named}"),
                "holds several secrets that are called `n`",
            ),
            (
                format!("{named}data: {{k: s3cr3t!}}"),
                "holds a secret `n` whose key `k` is not base64",
            ),
            (
                format!("{named}data: {{k: 42}}"),
                "holds a secret `n` whose key `k` is not text",
            ),
            (
                format!("{named}stringData: [k]"),
                "holds a secret `n` whose `stringData` is no mapping",
            ),
            (
                format!("{named}---\nk: v"),
                "holds Kubernetes secrets and something that is no resource",
            ),
        ] {
            assert_eq!(read(&text).unwrap_err().message, format!("`s.yaml` {what}"));
        }
    }
}
