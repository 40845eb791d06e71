//! dotenv: variables, each a secret with one key of its own name.
//!
//! Nothing is substituted: a file must not read the environment by naming a variable. `dotenvy`
//! does that and cannot be told not to. What dialects of dotenv read differently is refused, since
//! a password that is cut at a `#` or lacks what follows a `$` is found out late: such characters
//! must stand in quotes, and in single quotes nothing is special.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use super::Secrets;
use super::source::Source;
use crate::secret::SecretValue;
use crate::stores::StoreError;

pub(super) fn read(source: &Source) -> Result<Secrets, StoreError> {
    let text = source.text()?;
    let mut reader = Reader {
        rest: text.strip_prefix('\u{FEFF}').unwrap_or(text),
    };
    let mut variables = BTreeMap::new();
    while reader.find_variable() {
        let (name, value) = reader.variable().map_err(|fault| {
            let is_disputed = [BARE, DOLLAR, ESCAPE].contains(&fault);
            source
                .error_at(text.len() - reader.rest.len(), fault)
                .with_hint(if is_disputed {
                    "in single quotes every character stands for itself"
                } else {
                    ""
                })
        })?;
        if variables.insert(name, value).is_some() {
            return Err(source.error(format_args!("sets the variable `{name}` twice")));
        }
    }
    let secret =
        |(name, value): (&str, _)| (name.to_owned(), [(name, value)].into_iter().collect());
    Ok(variables.into_iter().map(secret).collect())
}

/// What is wrong at the place where the reader stands.
type Fault = &'static str;

const BARE: Fault = "has a character here that must stand in quotes";
const DOLLAR: Fault = "has a `$` here that must be `\\$` in double quotes";
const ESCAPE: Fault = "has an unknown escape here";
const UNCLOSED: Fault = "has a value here without a closing quote";

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    /// Goes to the next variable, past empty lines and comments; false where there is none.
    fn find_variable(&mut self) -> bool {
        loop {
            self.rest = self.rest.trim_start();
            if !self.rest.starts_with('#') {
                return !self.rest.is_empty();
            }
            self.take(|c| c != '\n');
        }
    }

    fn variable(&mut self) -> Result<(&'a str, SecretValue), Fault> {
        let mut name = self.name()?;
        self.skip_blanks();
        if name == "export" && !self.rest.starts_with('=') {
            name = self.name()?;
            self.skip_blanks();
        }
        if !self.skip('=') {
            return Err("has no `=` here, after the name of a variable");
        }
        let is_spaced = self.skip_blanks();
        let value = if self.skip('\'') {
            self.single_quoted()?
        } else if self.skip('"') {
            self.double_quoted()?
        } else {
            return Ok((name, self.unquoted(is_spaced)?));
        };
        let is_spaced = self.skip_blanks();
        if is_spaced && self.rest.starts_with('#') {
            self.take(|c| c != '\n');
        }
        if self.rest.is_empty() || self.rest.starts_with(['\n', '\r']) {
            Ok((name, value))
        } else {
            Err("goes on here, after a quote that ends a value")
        }
    }

    fn name(&mut self) -> Result<&'a str, Fault> {
        if !self
            .rest
            .starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        {
            return Err("has no name of a variable here");
        }
        Ok(self.take(|c| c.is_ascii_alphanumeric() || "_.-".contains(c)))
    }

    /// A value up to the end of its line or to a comment, which must follow a blank.
    fn unquoted(&mut self, mut is_spaced: bool) -> Result<SecretValue, Fault> {
        let line = self.rest;
        loop {
            match self.rest.chars().next() {
                None | Some('\n') => break,
                Some('#') if is_spaced => break,
                Some('\'' | '"' | '`' | '\\' | '$' | '#') => return Err(BARE),
                Some(_) => {
                    self.take(|c| !"'\"`\\$# \t\n".contains(c));
                    is_spaced = self.skip_blanks();
                }
            }
        }
        let value = line.get(..line.len() - self.rest.len());
        self.take(|c| c != '\n');
        Ok(SecretValue::from(value.unwrap_or_default().trim()))
    }

    fn single_quoted(&mut self) -> Result<SecretValue, Fault> {
        let (value, rest) = self.rest.split_once('\'').ok_or(UNCLOSED)?;
        self.rest = rest;
        Ok(SecretValue::from(value))
    }

    fn double_quoted(&mut self) -> Result<SecretValue, Fault> {
        let mut is_escaped = false;
        let end = self.rest.find(|c| {
            let is_end = c == '"' && !is_escaped;
            is_escaped = c == '\\' && !is_escaped;
            is_end
        });
        // No escape becomes longer, so that the buffer never grows.
        let mut value = Zeroizing::new(String::with_capacity(end.ok_or(UNCLOSED)?));
        loop {
            value.push_str(self.take(|c| !"\"\\$".contains(c)));
            if self.skip('"') {
                return Ok(SecretValue::new(value.as_bytes()));
            }
            if !self.skip('\\') {
                return Err(DOLLAR);
            }
            value.push(match self.rest.chars().next() {
                Some('n') => '\n',
                Some('r') => '\r',
                Some('t') => '\t',
                Some(c @ ('\\' | '"' | '\'' | '$' | '`')) => c,
                _ => return Err(ESCAPE),
            });
            self.rest = self.rest.get(1..).unwrap_or_default();
        }
    }

    fn skip_blanks(&mut self) -> bool {
        !self.take(|c| c == ' ' || c == '\t').is_empty()
    }

    fn skip(&mut self, c: char) -> bool {
        let rest = self.rest.strip_prefix(c);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// Goes past the characters that fit, and gives them back.
    fn take(&mut self, fits: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !fits(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::listing;
    use super::{Source, read};

    fn value(text: &str) -> String {
        let secrets = read(&Source::of(".env", format!("K={text}").as_bytes())).unwrap();
        secrets["K"]
            .get("K")
            .unwrap()
            .reveal_text()
            .unwrap()
            .to_owned()
    }

    #[test]
    fn each_variable_is_a_secret() {
        let text =
            "\u{FEFF}# comment\n\n A=1\r\nexport B = 'two' # comment\nexport=x\ndb.pass-word=y";
        assert_eq!(
            listing(&read(&Source::of(".env", text.as_bytes())).unwrap()),
            [
                "A/A=1",
                "B/B=two",
                "db.pass-word/db.pass-word=y",
                "export/export=x"
            ]
        );
    }

    #[test]
    fn values_are_what_all_dialects_read() {
        for (text, meant) in [
            ("", ""),
            (" # comment", ""),
            ("a b  c\t# comment", "a b  c"),
            (" a=b ", "a=b"),
            ("'$HOME #\"\\n'", "$HOME #\"\\n"),
            ("'two\nlines'", "two\nlines"),
            (r#""a\n\t\"\$HOME\\""#, "a\n\t\"$HOME\\"),
            ("\"two\nlines # in\" # comment", "two\nlines # in"),
        ] {
            assert_eq!(value(text), meant, "{text}");
        }
    }

    #[test]
    fn nothing_is_substituted_and_what_could_be_is_refused() {
        for (text, what) in [
            ("$HOME", "3` has a character here that must stand in quotes"),
            (
                "a${HOME}",
                "4` has a character here that must stand in quotes",
            ),
            (
                "\"a$HOME\"",
                "5` has a `$` here that must be `\\$` in double quotes",
            ),
            ("a#b", "4` has a character here that must stand in quotes"),
            (" a#b", "5` has a character here that must stand in quotes"),
            ("#b", "3` has a character here that must stand in quotes"),
            ("it's", "5` has a character here that must stand in quotes"),
            ("a\\nb", "4` has a character here that must stand in quotes"),
            ("`a`", "3` has a character here that must stand in quotes"),
            (r#""\x""#, "5` has an unknown escape here"),
        ] {
            let error = read(&Source::of(".env", format!("K={text}").as_bytes())).unwrap_err();
            assert_eq!(error.message, format!("`.env:1:{what}"));
            assert_eq!(
                error.hint,
                "in single quotes every character stands for itself"
            );
        }
    }

    #[test]
    fn what_is_no_variable_is_refused() {
        for (text, what) in [
            ("=x", ":1:1` has no name of a variable here"),
            (
                "A=1\nB: 2",
                ":2:2` has no `=` here, after the name of a variable",
            ),
            (
                "A='x'y",
                ":1:6` goes on here, after a quote that ends a value",
            ),
            (
                "A=\"x\"#y",
                ":1:6` goes on here, after a quote that ends a value",
            ),
            ("A='x", ":1:4` has a value here without a closing quote"),
            (
                "A=\"x\\\"",
                ":1:4` has a value here without a closing quote",
            ),
            ("A=1\nA=2", "` sets the variable `A` twice"),
        ] {
            let error = read(&Source::of(".env", text.as_bytes())).unwrap_err();
            assert_eq!(error.message, format!("`.env{what}"));
        }
    }
}
