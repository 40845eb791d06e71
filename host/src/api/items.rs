//! Configuration items as Dapr writes them: what is empty is left out.

use bytes::Bytes;

use crate::api::json::Json;
use crate::configuration::{Item, Items};

/// Items by key.
pub(crate) fn write(json: &mut Json, items: &Items) {
    json.object(
        items.iter().map(|(key, item)| (key.as_str(), item)),
        write_item,
    );
}

/// What the app is told: all that has changed, under the id of its subscription.
pub(crate) fn event(id: &str, items: &Items) -> Bytes {
    let mut json = Json::default();
    json.raw("{\"id\":");
    json.text(id);
    json.raw(",\"items\":");
    write(&mut json, items);
    json.raw("}\n");
    Bytes::from_owner(json.finish())
}

fn write_item(json: &mut Json, item: &Item) {
    let texts = [("value", &item.value), ("version", &item.version)];
    let mut separator = "{";
    for (name, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
        json.raw(separator);
        json.text(name);
        json.raw(":");
        json.text(text);
        separator = ",";
    }
    if !item.metadata.is_empty() {
        json.raw(separator);
        json.raw("\"metadata\":");
        let metadata = item.metadata.iter();
        json.object(
            metadata.map(|(name, value)| (name.as_str(), value.as_str())),
            Json::text,
        );
        separator = ",";
    }
    json.raw(if separator == "{" { "{}" } else { "}" });
}

#[cfg(test)]
mod tests {
    use super::event;
    use crate::configuration::{Item, Items};

    #[test]
    fn what_is_empty_is_left_out() {
        let mut full = Item::new("a<b", "1");
        full.metadata.insert("k".to_owned(), "v".to_owned());
        let items = [
            ("deleted", Item::default()),
            ("full", full),
            ("versioned", Item::new("", "2")),
        ];
        let items: Items = items.map(|(key, item)| (key.to_owned(), item)).into();
        let expected = "{\"id\":\"x\",\"items\":{\"deleted\":{},\
                        \"full\":{\"value\":\"a\\u003cb\",\"version\":\"1\",\"metadata\":{\"k\":\"v\"}},\
                        \"versioned\":{\"version\":\"2\"}}}\n";
        assert_eq!(event("x", &items), expected);
    }
}
