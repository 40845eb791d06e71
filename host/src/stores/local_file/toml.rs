//! TOML: a tree of secrets.

use std::borrow::Cow;

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use zeroize::Zeroizing;

use super::flattener::Flattener;
use super::source::Source;
use super::{LocalFileOptions, Secrets};
use crate::secret::SecretValue;
use crate::stores::StoreError;

pub(super) fn read(source: &Source, options: &LocalFileOptions) -> Result<Secrets, StoreError> {
    let text = source.text()?;
    let table = DeTable::parse(text).map_err(|error| match error.span() {
        // The parser's own words are left out, as they can quote a value.
        Some(span) => source.error_at(span.start, "is not valid TOML"),
        None => source.error("is not valid TOML"),
    })?;
    let mut flattener = Flattener::new(options);
    flatten_table(text, table.into_inner(), &mut flattener);
    flattener.finish(source)
}

fn flatten_table(text: &str, table: DeTable<'_>, flattener: &mut Flattener<'_>) {
    flattener.begin_object();
    for (key, value) in table {
        flattener.key(key.into_inner().into_owned());
        flatten(text, value, flattener);
    }
    flattener.end();
}

fn flatten(text: &str, value: Spanned<DeValue<'_>>, flattener: &mut Flattener<'_>) {
    let span = value.span();
    match value.into_inner() {
        DeValue::String(Cow::Borrowed(text)) => flattener.text(SecretValue::from(text)),
        DeValue::String(Cow::Owned(text)) => {
            let text = Zeroizing::new(text);
            flattener.text(SecretValue::new(text.as_bytes()));
        }
        DeValue::Array(items) => {
            flattener.begin_array();
            items.into_iter().for_each(|item| flatten(text, item, flattener));
            flattener.end();
        }
        DeValue::Table(table) => flatten_table(text, table, flattener),
        DeValue::Integer(number) => {
            // Without underscores: they stand in the file for readers alone.
            let number = Zeroizing::new(number.to_string());
            flattener.scalar(Some(SecretValue::new(number.as_bytes())));
        }
        DeValue::Float(number) => flattener.scalar(Some(SecretValue::from(number.as_str()))),
        DeValue::Boolean(_) | DeValue::Datetime(_) => {
            let written = text.get(span).unwrap_or_default();
            flattener.scalar(Some(SecretValue::from(written)));
        }
    }
}
