//! TOML: a tree of secrets.
//!
//! Where a file is not valid, the parser's error keeps a copy of it that is not wiped.

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
            for item in items {
                flatten(text, item, flattener);
            }
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

#[cfg(test)]
mod tests {
    use super::super::tests::listing;
    use super::{LocalFileOptions, Source, read};

    #[test]
    fn tree_is_flattened_as_in_json() {
        let text =
            "a = 'x'\nb = [\"y\\t\", {c = 1}]\n[d]\n\"e.f\" = true\n[empty]\n[[g]]\nh = 'z'\n";
        let source = Source::of("s.toml", text.as_bytes());
        assert_eq!(
            listing(&read(&source, &LocalFileOptions::default()).unwrap()),
            [
                "a/a=x",
                "b:0/b:0=y\t",
                "b:1:c/b:1:c=1",
                "d:e.f/d:e.f=true",
                "g:0:h/g:0:h=z"
            ]
        );
    }

    #[test]
    fn scalars_are_their_text_without_underscores() {
        for (text, meant) in [
            ("1_000", "1000"),
            ("0x1F", "0x1F"),
            ("1.50", "1.50"),
            ("1e5", "1e5"),
            ("false", "false"),
            ("2001-12-14T01:02:03Z", "2001-12-14T01:02:03Z"),
        ] {
            let source = Source::of("s.toml", format!("k = {text}").as_bytes());
            let secrets = read(&source, &LocalFileOptions::default()).unwrap();
            assert_eq!(listing(&secrets), [format!("k/k={meant}")]);
        }
    }

    #[test]
    fn errors_have_a_place() {
        for (text, place) in [("a = 1\na = 2", "2:1"), ("a = 'x\n", "1:7")] {
            let source = Source::of("s.toml", text.as_bytes());
            let error = read(&source, &LocalFileOptions::default()).unwrap_err();
            assert_eq!(error.message, format!("`s.toml:{place}` is not valid TOML"));
        }
    }
}
