//! Patterns of paths, of `spec.metric.http.pathMatching`, as Go's `http.ServeMux` matches them.

/// A pattern.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PathPattern {
    text: String,
    parts: Vec<Part>,
}

/// A part of a path, the more exact first.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Part {
    /// This text.
    Literal(String),
    /// `{name}`: any one part.
    Any,
    /// `{name...}`, or a slash at the end: all that is left.
    Rest,
}

impl PathPattern {
    /// A pattern, such as `/orders/{id}`. Slashes that follow each other are one.
    ///
    /// # Errors
    /// Fails where the pattern is none of Go's, or has a method.
    pub fn new(text: &str) -> Result<Self, UnreadablePath> {
        let text = normal(text);
        let mut parts = Vec::new();
        let mut written = text.split('/').skip(1).peekable();
        while let Some(part) = written.next() {
            let is_last = written.peek().is_none();
            let inside = part
                .strip_prefix('{')
                .and_then(|part| part.strip_suffix('}'));
            parts.push(match inside {
                // What Go spells out where a slash at the end is to match that alone.
                Some("$") if is_last => Part::Literal(String::new()),
                Some(name) => match name.strip_suffix("...") {
                    Some(name) if is_last && is_name(name) => Part::Rest,
                    None if is_name(name) => Part::Any,
                    _ => return Err(UnreadablePath),
                },
                None if part.contains(['{', '}', ' ', '\t']) => return Err(UnreadablePath),
                None if part.is_empty() && is_last => Part::Rest,
                None => Part::Literal(part.to_owned()),
            });
        }
        Ok(Self { text, parts })
    }

    /// As it was written.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Whether a path, slashes in it being one each, is one of these.
    fn matches(&self, path: &str) -> bool {
        let mut given = path.split('/').skip(1);
        for part in &self.parts {
            let matched = match (part, given.next()) {
                (Part::Any, Some(given)) => !given.is_empty(),
                (Part::Literal(text), Some(given)) => text == given,
                // Go redirects `/a` to `/a/`, and names the pattern of that.
                (Part::Rest, _) => return true,
                (_, None) => false,
            };
            if !matched {
                return false;
            }
        }
        given.next().is_none()
    }
}

/// Patterns, the most exact that matches counting, and each once more for the same path below
/// another app's, as in Dapr.
#[derive(Clone, Debug, Default)]
pub(crate) struct PathPatterns(Vec<PathPattern>);

impl PathPatterns {
    pub(crate) fn new(patterns: &[PathPattern]) -> Self {
        let mut all = patterns.to_vec();
        for pattern in patterns {
            if !pattern.text.starts_with("/v1.0/invoke/") {
                let text = format!("/v1.0/invoke/{{app_id}}/method{}", pattern.text);
                all.extend(PathPattern::new(&text));
            }
        }
        all.sort_by(|one, other| one.parts.cmp(&other.parts));
        all.dedup();
        Self(all)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The number and text of the pattern that matches.
    pub(crate) fn find(&self, path: &str) -> Option<(usize, &str)> {
        let path = normal(path);
        let mut patterns = self.0.iter().enumerate();
        let (number, pattern) = patterns.find(|(_, pattern)| pattern.matches(&path))?;
        Some((number, pattern.text()))
    }

    /// The text of a pattern.
    pub(crate) fn text(&self, number: usize) -> &str {
        self.0.get(number).map_or("", PathPattern::text)
    }
}

fn normal(path: &str) -> String {
    let mut normal = String::from("/");
    for character in path.chars() {
        if character != '/' || !normal.ends_with('/') {
            normal.push(character);
        }
    }
    normal
}

fn is_name(name: &str) -> bool {
    let mut characters = name.chars();
    let begins = |character: char| character == '_' || character.is_alphabetic();
    characters.next().is_some_and(begins)
        && characters.all(|character| character == '_' || character.is_alphanumeric())
}

/// A pattern is none of Go's.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("a pattern of a path cannot be read")]
#[non_exhaustive]
pub struct UnreadablePath;

#[cfg(test)]
mod tests {
    use super::{PathPattern, PathPatterns};

    #[test]
    fn the_most_exact_pattern_counts() {
        let texts = [
            "/",
            "/o/",
            "/o/{id}",
            "/o/a",
            "/o/{id}/x",
            "/p/{rest...}",
            "/q/{$}",
        ];
        let patterns: Vec<_> = texts
            .iter()
            .map(|text| PathPattern::new(text).unwrap())
            .collect();
        let patterns = PathPatterns::new(&patterns);
        for (path, expected) in [
            ("/o/a", "/o/a"),
            ("//o//b", "/o/{id}"),
            ("/o/b/x", "/o/{id}/x"),
            ("/o/b/y", "/o/"),
            ("/o", "/o/"),
            ("/p/a/b", "/p/{rest...}"),
            ("/q/", "/q/{$}"),
            ("/q/a", "/"),
            (
                "/v1.0/invoke/x/method/o/a",
                "/v1.0/invoke/{app_id}/method/o/a",
            ),
        ] {
            let found = patterns.find(path).map(|(_, text)| text);
            assert_eq!(found, Some(expected), "{path}");
        }
    }

    #[test]
    fn what_go_refuses_is_refused() {
        for text in ["GET /a", "/a/{", "/a{b}", "/{a...}/b", "/{}", "/{$}/a"] {
            assert!(PathPattern::new(text).is_err(), "{text}");
        }
    }
}
