//! A tree as one of Dapr's resources.
//!
//! The shape has been checked before, so what does not fit is left out here without a word. As in
//! Go's JSON decoder, spellings of one field that differ in case are decoded over one another in
//! the order of their bytes.

use alloc::borrow::ToOwned as _;
use alloc::string::String;
use alloc::vec::Vec;

use crate::bindings::{Component, ComponentKind, Item, ItemPlace, Position, Problem, SecretKeyRef};
use crate::fault::Fault;
use crate::problem::{position, warning};
use crate::schema::folds_to;
use crate::tree::{Id, Tree, Value};
use crate::{json, scalar};

/// What decides whether and how a resource is loaded.
#[derive(Debug, Default)]
pub(crate) struct Identity {
    pub(crate) api_version: String,
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) name_at: Option<Id>,
}

/// Reads `apiVersion`, `kind` and `metadata.name`.
pub(crate) fn identity(tree: &Tree) -> Identity {
    let mut identity = Identity::default();
    for_fields(tree, tree.root(), |field, id| {
        if folds_to(field, "apiVersion") {
            set_text(tree, id, &mut identity.api_version);
        } else if folds_to(field, "kind") {
            set_text(tree, id, &mut identity.kind);
        } else if folds_to(field, "metadata") {
            for_fields(tree, id, |field, id| {
                if folds_to(field, "name") && set_text(tree, id, &mut identity.name) {
                    identity.name_at = Some(id);
                }
            });
        }
    });
    identity
}

/// Reads the whole resource. Fails where a value becomes too long.
pub(crate) fn decode(
    tree: &Tree,
    kind: ComponentKind,
    document: u32,
    line: u32,
    warnings: &mut Vec<Problem>,
) -> Result<Component, Fault> {
    let begin = position(tree.mark(tree.root()), line);
    let mut decoder = Decoder {
        tree,
        document,
        line,
        warnings,
        fault: None,
    };
    let mut component = Component {
        kind,
        name: String::new(),
        namespace: String::new(),
        labels: Vec::new(),
        annotations: Vec::new(),
        component_type: String::new(),
        version: String::new(),
        ignore_errors: false,
        init_timeout: String::new(),
        secret_store: String::new(),
        scopes: Vec::new(),
        items: Vec::new(),
        document,
        position: begin,
        type_position: begin,
        secret_store_position: begin,
    };
    decoder.component(&mut component);
    match decoder.fault {
        Some(fault) => Err(fault),
        None => Ok(component),
    }
}

struct Decoder<'t> {
    tree: &'t Tree,
    document: u32,
    line: u32,
    warnings: &'t mut Vec<Problem>,
    /// The first value that could not be written.
    fault: Option<Fault>,
}

impl Decoder<'_> {
    fn component(&mut self, component: &mut Component) {
        let tree = self.tree;
        self.warn_of_repeated_keys(tree.root());
        for_fields(tree, tree.root(), |field, id| {
            if folds_to(field, "metadata") {
                self.object_meta(id, component);
            } else if folds_to(field, "spec") {
                self.warn_of_repeated_keys(id);
                self.warn_of_misplaced(id);
                match component.kind {
                    ComponentKind::Component => self.component_spec(id, component),
                    ComponentKind::HttpEndpoint => self.endpoint_spec(id, component),
                }
            } else if folds_to(field, "auth") {
                for_fields(tree, id, |field, id| {
                    if folds_to(field, "secretStore")
                        && set_text(tree, id, &mut component.secret_store)
                    {
                        component.secret_store_position = self.position(id);
                    }
                });
            } else if folds_to(field, "scopes") {
                self.list(id, &mut component.scopes, String::new, |_, id, scope| {
                    set_text(tree, id, scope);
                });
            }
        });
    }

    fn object_meta(&mut self, id: Id, component: &mut Component) {
        let tree = self.tree;
        self.warn_of_repeated_keys(id);
        for_fields(tree, id, |field, id| {
            if folds_to(field, "name") {
                set_text(tree, id, &mut component.name);
            } else if folds_to(field, "namespace") {
                set_text(tree, id, &mut component.namespace);
            } else if folds_to(field, "labels") {
                set_map(tree, id, &mut component.labels);
            } else if folds_to(field, "annotations") {
                set_map(tree, id, &mut component.annotations);
            }
        });
    }

    fn component_spec(&mut self, id: Id, component: &mut Component) {
        let tree = self.tree;
        for_fields(tree, id, |field, id| {
            if folds_to(field, "type") {
                if set_text(tree, id, &mut component.component_type) {
                    component.type_position = self.position(id);
                }
            } else if folds_to(field, "version") {
                set_text(tree, id, &mut component.version);
            } else if folds_to(field, "ignoreErrors") {
                if let Value::Bool(ignore) = tree.value(id) {
                    component.ignore_errors = ignore;
                }
            } else if folds_to(field, "initTimeout") {
                set_text(tree, id, &mut component.init_timeout);
            } else if folds_to(field, "metadata") {
                self.items(id, ItemPlace::Metadata, &mut component.items);
            }
        });
    }

    fn endpoint_spec(&mut self, id: Id, component: &mut Component) {
        let tree = self.tree;
        let mut headers = Vec::new();
        let mut documents = ["rootCA", "certificate", "privateKey"].map(|name| (name, None));
        for_fields(tree, id, |field, id| {
            if folds_to(field, "baseUrl") {
                if set_text(tree, id, &mut component.component_type) {
                    component.type_position = self.position(id);
                }
            } else if folds_to(field, "headers") {
                self.items(id, ItemPlace::Header, &mut headers);
            } else if folds_to(field, "clientTLS") {
                for_fields(tree, id, |field, id| {
                    for (name, document) in &mut documents {
                        if folds_to(field, name) {
                            let item = document
                                .get_or_insert_with(|| new_item(name, ItemPlace::ClientTls));
                            self.item(id, item);
                        }
                    }
                });
            }
        });
        component.items = headers;
        let documents = documents.into_iter().filter_map(|(_, document)| document);
        component.items.extend(documents.filter(|item| {
            item.value.is_some() || item.secret_key_ref.is_some() || item.unknown_field.is_some()
        }));
    }

    fn items(&mut self, id: Id, place: ItemPlace, items: &mut Vec<Item>) {
        self.list(id, items, || new_item("", place), Decoder::item);
    }

    fn item(&mut self, id: Id, item: &mut Item) {
        let tree = self.tree;
        self.warn_of_repeated_keys(id);
        item.position = self.position(id);
        let Value::Mapping(entries) = tree.value(id) else {
            return;
        };
        // The documents of `clientTLS` have no name of their own, and no variable.
        let is_pair = item.place != ItemPlace::ClientTls;
        let mut reference = None;
        for (field, mark, id) in entries {
            if is_pair && folds_to(field, "name") {
                set_text(tree, id, &mut item.name);
            } else if folds_to(field, "value") {
                self.value(id, &mut item.value);
            } else if folds_to(field, "secretKeyRef") {
                reference = Some(self.secret_key_ref(id, item));
            } else if is_pair && folds_to(field, "envRef") {
                if set_text(tree, id, &mut item.env_ref) {
                    item.position = self.position(id);
                }
            } else {
                item.unknown_field = Some(position(mark, self.line));
            }
        }
        item.position = reference.unwrap_or(item.position);
    }

    /// Reads a reference and says where its name stands.
    fn secret_key_ref(&mut self, id: Id, item: &mut Item) -> Position {
        let tree = self.tree;
        self.warn_of_repeated_keys(id);
        let mut at = self.position(id);
        // Null is an empty reference, as in Go: one that names nothing.
        let reference = item.secret_key_ref.get_or_insert_with(|| SecretKeyRef {
            name: String::new(),
            key: String::new(),
            key_position: at,
        });
        for_fields(tree, id, |field, id| {
            let here = position(tree.mark(id), self.line);
            let is_name = folds_to(field, "name");
            if is_name {
                at = here;
            }
            let target = match is_name {
                true => &mut reference.name,
                false if folds_to(field, "key") => &mut reference.key,
                false => {
                    item.unknown_field = Some(here);
                    return;
                }
            };
            if !set_text(tree, id, target) {
                return;
            }
            if tree.source(id).is_some_and(|source| source != target) {
                self.warnings.push(warning(
                    self.document,
                    here,
                    "YAML reads this name as a number or a boolean",
                    "quote the name",
                ));
            }
            if !is_name {
                reference.key_position = here;
            }
        });
        if reference.key.is_empty() {
            reference.key_position = at;
        }
        at
    }

    /// The value as the string that a component sees: a string as it is, anything else as JSON.
    fn value(&mut self, id: Id, value: &mut Option<String>) {
        match self.tree.value(id) {
            Value::Null => {}
            Value::Text(text) => *value = Some(text.to_owned()),
            _ => match json::text(self.tree, id) {
                Ok(text) => {
                    self.warn_of_lost_digits(id, &text);
                    *value = Some(text);
                }
                Err(fault) => self.fault = self.fault.take().or(Some(fault)),
            },
        }
    }

    /// Decodes a list over what is there, element by element, as Go's JSON decoder does.
    fn list<T>(
        &mut self,
        id: Id,
        list: &mut Vec<T>,
        new: impl Fn() -> T,
        mut decode: impl FnMut(&mut Self, Id, &mut T),
    ) {
        match self.tree.value(id) {
            Value::Null => list.clear(),
            Value::Sequence(elements) => {
                let mut length = 0;
                for element in elements {
                    if length == list.len() {
                        list.push(new());
                    }
                    if let Some(target) = list.get_mut(length) {
                        decode(self, element, target);
                    }
                    length += 1;
                }
                list.truncate(length);
            }
            _ => {}
        }
    }

    fn warn_of_repeated_keys(&mut self, id: Id) {
        if let Some(mark) = self.tree.repeated_key(id) {
            self.warnings.push(warning(
                self.document,
                position(mark, self.line),
                "this key stands twice, and the last value counts",
                "remove one of the two",
            ));
        }
    }

    fn warn_of_misplaced(&mut self, spec: Id) {
        let tree = self.tree;
        for_fields(tree, spec, |field, id| {
            let message = match field {
                "auth" => "`auth` under `spec` is ignored",
                "scopes" => "`scopes` under `spec` is ignored",
                _ => return,
            };
            self.warnings.push(warning(
                self.document,
                position(tree.mark(id), self.line),
                message,
                "move it to the top level, beside `spec`",
            ));
        });
    }

    /// A leading zero is lost, which ruins a password or a telephone number.
    fn warn_of_lost_digits(&mut self, id: Id, text: &str) {
        let Some(source) = self.tree.source(id) else {
            return;
        };
        let digits = source.strip_prefix(['+', '-']).unwrap_or(source);
        let leading_zero = matches!(digits.as_bytes(), [b'0', b'0'..=b'9', ..]);
        if source != text && leading_zero {
            self.warnings.push(warning(
                self.document,
                self.position(id),
                "YAML reads this value as a number, and its leading zero is lost",
                "quote the value",
            ));
        }
    }

    fn position(&self, id: Id) -> Position {
        position(self.tree.mark(id), self.line)
    }
}

fn new_item(name: &str, place: ItemPlace) -> Item {
    Item {
        name: name.to_owned(),
        place,
        value: None,
        secret_key_ref: None,
        env_ref: String::new(),
        request: None,
        position: Position { line: 0, column: 0 },
        unknown_field: None,
    }
}

/// Calls `visit` for each field of a mapping, in the order of their bytes.
fn for_fields(tree: &Tree, id: Id, mut visit: impl FnMut(&str, Id)) {
    if let Value::Mapping(entries) = tree.value(id) {
        for (field, _, value) in entries {
            visit(field, value);
        }
    }
}

/// Sets a string field, turning a number or a boolean into text; says whether it did.
fn set_text(tree: &Tree, id: Id, target: &mut String) -> bool {
    let text = match tree.value(id) {
        Value::Text(text) => {
            text.clone_into(target);
            return true;
        }
        Value::Bool(true) => "true",
        Value::Bool(false) => "false",
        Value::Int(integer) => {
            target.clear();
            json::write_integer(target, integer);
            return true;
        }
        Value::Uint(integer) => {
            target.clear();
            json::write_integer(target, integer);
            return true;
        }
        Value::Float(float) => {
            target.clear();
            scalar::write_single_float(target, float);
            return true;
        }
        Value::Null | Value::Sequence(_) | Value::Mapping(_) => return false,
    };
    text.clone_into(target);
    true
}

/// Adds a mapping of strings to what is there, in the order of its keys.
fn set_map(tree: &Tree, id: Id, target: &mut Vec<(String, String)>) {
    match tree.value(id) {
        Value::Null => target.clear(),
        Value::Mapping(entries) => {
            for (key, _, value) in entries {
                let mut text = String::new();
                set_text(tree, value, &mut text);
                match target.binary_search_by(|(name, _)| name.as_str().cmp(key)) {
                    Ok(at) => {
                        if let Some((_, there)) = target.get_mut(at) {
                            *there = text;
                        }
                    }
                    Err(at) => target.insert(at, (key.to_owned(), text)),
                }
            }
        }
        _ => {}
    }
}
