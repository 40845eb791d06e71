//! Connection strings of PostgreSQL, of both kinds: `host=… user=…` and `postgres://…`.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;

/// What a connection string says, by name.
pub(super) type Parameters = BTreeMap<String, String>;

/// Reads a connection string; nothing where it is not in its format.
pub(super) fn parse(text: &str) -> Option<Parameters> {
    let text = text.trim();
    let url = ["postgres://", "postgresql://"];
    let parameters = match url.iter().find_map(|scheme| text.strip_prefix(scheme)) {
        Some(rest) => of_url(rest)?,
        None => of_pairs(text)?,
    };
    let named = parameters
        .into_iter()
        .map(|(name, value)| match name.as_str() {
            // pgx knows it by both names.
            "database" => ("dbname".to_owned(), value),
            _ => (name, value),
        });
    Some(named.collect())
}

/// The same as pairs, each value in quotes.
pub(super) fn text(parameters: &Parameters) -> String {
    let quoted = parameters.iter().map(|(name, value)| {
        let value = value.replace('\\', "\\\\").replace('\'', "\\'");
        format!("{name}='{value}'")
    });
    quoted.collect::<Vec<_>>().join(" ")
}

fn of_pairs(text: &str) -> Option<Parameters> {
    let mut parameters = Parameters::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (name, tail) = rest.split_once('=')?;
        let name = name.trim();
        if name.is_empty() || name.contains(char::is_whitespace) {
            return None;
        }
        let (value, tail) = value(tail.trim_start())?;
        parameters.insert(name.to_owned(), value);
        rest = tail.trim_start();
    }
    Some(parameters)
}

/// A value and what stands behind it. In quotes or not, a backslash stands before what is meant as
/// it is.
fn value(text: &str) -> Option<(String, &str)> {
    let (is_quoted, text) = match text.strip_prefix('\'') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => value.push(characters.next()?.1),
            '\'' if is_quoted => {
                let rest = text.get(at + 1..)?;
                let is_end = rest.is_empty() || rest.starts_with(char::is_whitespace);
                return is_end.then_some((value, rest));
            }
            ' ' | '\t' | '\n' | '\r' if !is_quoted => return Some((value, text.get(at..)?)),
            _ => value.push(character),
        }
    }
    (!is_quoted).then_some((value, ""))
}

/// What stands behind the scheme: `[USER[:PASSWORD]@][HOST[:PORT],…][/DATABASE][?NAME=VALUE&…]`.
fn of_url(text: &str) -> Option<Parameters> {
    let mut parameters = Parameters::new();
    let mut set = |name: &str, text: &str| -> Option<()> {
        if !text.is_empty() {
            let text = percent_decode_str(text).decode_utf8().ok()?;
            parameters.insert(name.to_owned(), text.into_owned());
        }
        Some(())
    };
    let (text, query) = text.split_once('?').unwrap_or((text, ""));
    let (authority, database) = text.split_once('/').unwrap_or((text, ""));
    set("dbname", database)?;
    let hosts = match authority.rsplit_once('@') {
        None => authority,
        Some((login, hosts)) => {
            let (user, password) = login.split_once(':').unwrap_or((login, ""));
            set("user", user)?;
            set("password", password)?;
            hosts
        }
    };
    let (mut names, mut ports) = (Vec::new(), Vec::new());
    for host in hosts.split(',').filter(|host| !host.is_empty()) {
        let (name, port) = match host.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => (name, port),
            _ => (host, ""),
        };
        names.push(name.trim_start_matches('[').trim_end_matches(']'));
        ports.push(port);
    }
    set("host", &names.join(","))?;
    if ports.iter().any(|port| !port.is_empty()) {
        set("port", &ports.join(","))?;
    }
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=')?;
        set(name, value)?;
    }
    Some(parameters)
}

#[cfg(test)]
mod tests {
    use super::{parse, text};

    #[test]
    fn both_kinds_say_the_same() {
        for (string, expected) in [
            (
                "host=h  user = u password='a b\\'c' database=d port=1",
                "dbname='d' host='h' password='a b\\'c' port='1' user='u'",
            ),
            (
                "postgres://u:a%20b%27c@h:1/d?sslmode=require",
                "dbname='d' host='h' password='a b\\'c' port='1' sslmode='require' user='u'",
            ),
            (
                "postgresql://u@[::1]:1,h/",
                "host='::1,h' port='1,' user='u'",
            ),
            (
                "postgres:///d?host=/run/postgresql",
                "dbname='d' host='/run/postgresql'",
            ),
            ("password=a\\ b\\\\", "password='a b\\\\'"),
            ("", ""),
        ] {
            let parsed = parse(string).unwrap();
            assert_eq!(text(&parsed), expected, "{string}");
            assert_eq!(parse(&text(&parsed)), Some(parsed), "{string}");
        }
    }

    #[test]
    fn what_is_not_in_the_format_is_nothing() {
        for string in [
            "host",
            "=h",
            "a b=c",
            "host='h",
            "host='h'x",
            "host=h\\",
            "postgres://%ff@h",
        ] {
            assert_eq!(parse(string), None, "{string}");
        }
    }
}
