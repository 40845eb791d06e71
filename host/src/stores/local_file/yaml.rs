//! YAML: a tree of secrets, or manifests of Kubernetes secrets.
//!
//! What the parser copies while it reads is not wiped; nodes are.

use super::flattener::Flattener;
use super::node::{Node, Reading, Writing};
use super::source::Source;
use super::{LocalFileOptions, Secrets, manifest};
use crate::secret::SecretValue;
use crate::stores::StoreError;

/// The most that a file may hold. The parser takes up to seventy times as much memory.
const MAX_BYTES: usize = 4 << 20;

/// How many brackets may be open, summed up over all bytes: the parser looks at each of them again
/// and again.
const MAX_OPEN_BRACKETS: usize = 1 << 28;

/// The secrets of a file: of its manifests, or else of the one tree in it.
pub(super) fn read(source: &Source, options: &LocalFileOptions) -> Result<Secrets, StoreError> {
    if source.bytes().len() > MAX_BYTES {
        let most = MAX_BYTES >> 20;
        return Err(source
            .error(format_args!("holds more than {most} MiB of YAML"))
            .with_hint("split it, or write it as JSON, of which a file can hold more"));
    }
    refuse_brackets(source)?;
    let mut documents = documents(source)?;
    if documents.iter().any(manifest::is_manifest) {
        return manifest::read(source, &documents);
    }
    let mut trees = documents
        .iter_mut()
        .enumerate()
        .filter(|(_, tree)| !matches!(tree, Node::Null));
    let Some((index, tree)) = trees.next() else {
        return Ok(Secrets::new());
    };
    if trees.next().is_some() {
        return Err(source.error("holds several documents and none is a Kubernetes secret"));
    }
    if !matches!(tree, Node::Map(_)) {
        return Err(source.error("holds no mapping of names to secrets"));
    }
    write_scalars(source, index, tree)?;
    let mut flattener = Flattener::new(options);
    flatten(tree, &mut flattener);
    flattener.finish(source)
}

fn flatten(node: &Node, flattener: &mut Flattener<'_>) {
    match node {
        Node::Null => flattener.scalar(None),
        Node::Text(text) => flattener.text(SecretValue::new(text.as_bytes())),
        Node::Scalar(text) => flattener.scalar(Some(SecretValue::new(text.as_bytes()))),
        Node::List(items) => {
            flattener.begin_array();
            for item in items {
                flatten(item, flattener);
            }
            flattener.end();
        }
        Node::Map(entries) => {
            flattener.begin_object();
            for (key, value) in entries {
                flattener.key(key.clone());
                flatten(value, flattener);
            }
            flattener.end();
        }
    }
}

/// Refuses a file that the parser would take minutes for. Brackets in texts count too, and nobody
/// writes as many as to reach the limit.
fn refuse_brackets(source: &Source) -> Result<(), StoreError> {
    let mut open: usize = 0;
    let mut sum: usize = 0;
    for (offset, byte) in source.bytes().iter().enumerate() {
        match byte {
            b'[' | b'{' => open += 1,
            b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        sum = sum.saturating_add(open);
        if sum > MAX_OPEN_BRACKETS {
            return Err(source.error_at(offset, "has too many brackets open for too long"));
        }
    }
    Ok(())
}

const INVALID: &str = "is not valid YAML";

fn documents(source: &Source) -> Result<Vec<Node>, StoreError> {
    let reading = Reading::new();
    serde_yaml::Deserializer::from_slice(source.bytes())
        .map(|document| reading.node(document))
        .collect::<Result<_, _>>()
        .map_err(|error| fault(source, &error, reading.fault().unwrap_or(INVALID)))
}

/// Where a document is wrong. The parser's own words are left out, as they can quote a value.
fn fault(source: &Source, error: &serde_yaml::Error, what: &str) -> StoreError {
    match error.location() {
        Some(place) => source.error_in(place.line(), place.column(), what),
        // The one error without a place that a text can bring about.
        None => source.error("repeats its aliases too often"),
    }
}

fn write_scalars(source: &Source, document: usize, tree: &mut Node) -> Result<(), StoreError> {
    if !tree.has_scalar() {
        return Ok(());
    }
    serde_yaml::Deserializer::from_slice(source.bytes())
        .nth(document)
        .map_or(Ok(()), |document| Writing(tree).scalars(document))
        .map_err(|error| fault(source, &error, INVALID))
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::super::tests::listing;
    use super::{LocalFileOptions, Source, read};

    fn secrets(text: &str) -> Vec<String> {
        listing(
            &read(
                &Source::of("s.yaml", text.as_bytes()),
                &LocalFileOptions::default(),
            )
            .unwrap(),
        )
    }

    fn error(text: &str) -> String {
        let source = Source::of("s.yaml", text.as_bytes());
        read(&source, &LocalFileOptions::default())
            .unwrap_err()
            .message
    }

    #[test]
    fn tree_is_flattened_as_in_json() {
        let text = "redis:\n  users: [a, {b: c}]\n  none: ~\n  el: []\n  text: |\n    x\n1: one\n";
        assert_eq!(
            secrets(text),
            [
                "1/1=one",
                "redis:text/redis:text=x\n",
                "redis:users:0/redis:users:0=a",
                "redis:users:1:b/redis:users:1:b=c"
            ]
        );
    }

    #[test]
    fn scalars_are_their_text_in_the_file() {
        for text in [
            "1.10",
            "1e5",
            "0x1F",
            "0042",
            "+5",
            "True",
            "yes",
            ".inf",
            "2001-12-14",
        ] {
            assert_eq!(secrets(&format!("k: {text}")), [format!("k/k={text}")]);
        }
        assert_eq!(
            secrets("a: &x 7.0\nb: [null, *x]\n"),
            ["a/a=7.0", "b:1/b:1=7.0"]
        );
        assert_eq!(secrets("---\n---\nk: 1.0\n---\n"), ["k/k=1.0"]);
    }

    #[test]
    fn nothing_is_an_empty_store() {
        for text in ["", "# comment\n", "---\n", "null"] {
            assert_eq!(secrets(text), [""; 0]);
        }
    }

    #[test]
    fn what_is_no_tree_is_refused() {
        for (text, what) in [
            ("text", "` holds no mapping of names to secrets"),
            ("- a", "` holds no mapping of names to secrets"),
            (
                "a: b\n---\nc: d",
                "` holds several documents and none is a Kubernetes secret",
            ),
            ("a: b\na: c", ":1:1` holds a mapping with one key twice"),
            (
                "a: &a {b: c}\nd:\n  <<: *a",
                ":3:3` merges a mapping into another, which is not supported",
            ),
            (
                "a:\n  b: !c d",
                ":2:6` has a tag that is not one of YAML itself",
            ),
            ("a: 'b\n", ":2:1` is not valid YAML"),
            ("? [a]\n: b", ":1:3` is not valid YAML"),
            ("a: &a [*a]", ":1:4` nests more than 100 levels"),
        ] {
            assert_eq!(error(text), format!("`s.yaml{what}"));
        }
    }

    #[test]
    fn files_that_grow_without_bound_are_refused() {
        let nested = format!("a: {}{}", "[".repeat(101), "]".repeat(101));
        assert!(error(&nested).ends_with("` nests more than 100 levels"));
        let long = format!("a: {}", "x".repeat(4 << 20));
        assert_eq!(error(&long), "`s.yaml` holds more than 4 MiB of YAML");
        let open = "[".repeat(100_000);
        assert!(error(&open).ends_with("` has too many brackets open for too long"));
        let aliases = format!(
            "a: &a {}\nb: [{}]",
            "x".repeat(1 << 16),
            "*a,".repeat(1 << 10)
        );
        assert!(error(&aliases).ends_with("` takes more than 64 MiB"));
        let mut laughs = "a0: &a0 x\n".to_owned();
        for n in 1..20 {
            let aliases = format!("*a{},", n - 1).repeat(9);
            writeln!(laughs, "a{n}: &a{n} [{aliases}]").unwrap();
        }
        assert_eq!(error(&laughs), "`s.yaml` repeats its aliases too often");
    }
}
