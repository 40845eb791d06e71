//! `--cache`: which stores' answers are kept, and for how long.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, bail};
use jiff::SignedDuration;
use keyref::cache::EVERY_STORE;
use keyref::problem::terminal_safe;
use keyref::{Cache, CacheRule, Resolver};

/// Takes apart `STORE=TTL[,negative=TIME][,stale=TIME]`.
pub(super) fn rule(text: &str) -> std::result::Result<(String, CacheRule), String> {
    // Durations hold no `=`, so a name may.
    let whole = || {
        let (head, options) = match text.split_once(',') {
            Some((head, options)) => (head, options.split(',').collect()),
            None => (text, Vec::new()),
        };
        let (store, ttl) = head.rsplit_once('=')?;
        (!store.is_empty()).then_some((store, ttl, options))
    };
    let Some((store, ttl, options)) = whole() else {
        return Err("it is STORE=TTL, such as `vault=5m` or `*=30s,stale=1h`".to_owned());
    };
    let mut rule = CacheRule::new(time(ttl)?);
    let mut names = Vec::new();
    for option in options {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        if names.contains(&name) {
            return Err(format!("`{name}` is given twice"));
        }
        names.push(name);
        rule = match name {
            "negative" => rule.with_negative_ttl(time(value)?),
            "stale" => rule.with_stale(time(value)?),
            _ => {
                let name = terminal_safe(name);
                return Err(format!(
                    "there is no `{name}`; there are `negative` and `stale`"
                ));
            }
        };
    }
    Ok((store.to_owned(), rule))
}

fn time(text: &str) -> std::result::Result<Duration, String> {
    let time = text.parse::<SignedDuration>().ok();
    let time = time.and_then(|time| Duration::try_from(time).ok());
    time.ok_or_else(|| {
        let text = terminal_safe(text);
        format!("`{text}` is no time; write one such as `30s`, `5m` or `1h30m`")
    })
}

/// The cache of these rules.
///
/// # Errors
/// Fails where a store is named twice.
pub(super) fn cache(rules: &[(String, CacheRule)]) -> Result<Cache> {
    let mut named = BTreeMap::new();
    for (store, rule) in rules {
        if named.insert(store.as_str(), *rule).is_some() {
            let store = terminal_safe(store);
            bail!("`--cache {store}=…` is given twice: name each store once");
        }
    }
    Ok(Cache::new(named))
}

/// Warns of rules for stores that are not there, which may be slips.
pub(super) fn warn_of_unknown(resolver: &Resolver) {
    let stores = resolver.stores();
    let is_known =
        |name: &&str| *name == EVERY_STORE || stores.iter().any(|store| store.as_str() == *name);
    for name in resolver.cache().named().filter(|name| !is_known(name)) {
        let name = terminal_safe(name);
        tracing::warn!("`--cache {name}=…` is for a secret store that is not there");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use keyref::CacheRule;

    use super::{cache, rule};

    #[test]
    fn a_rule_has_a_store_a_time_and_options() {
        let seconds = Duration::from_secs;
        let plain = CacheRule::new(seconds(300));
        assert_eq!(rule("vault=5m"), Ok(("vault".to_owned(), plain)));
        let whole = CacheRule::new(Duration::from_millis(1_500))
            .with_negative_ttl(seconds(5))
            .with_stale(seconds(5_400));
        assert_eq!(
            rule("a=b=1.5s,stale=1h30m,negative=5s"),
            Ok(("a=b".to_owned(), whole))
        );
        assert_eq!(rule("*=0s"), Ok(("*".to_owned(), CacheRule::default())));
    }

    #[test]
    fn what_is_no_rule_is_refused_with_what_would_be_one() {
        for (text, said) in [
            ("vault", "STORE=TTL"),
            ("=5m", "STORE=TTL"),
            ("", "STORE=TTL"),
            ("vault=", "`` is no time"),
            ("vault=5", "`5` is no time"),
            ("vault=-5s", "`-5s` is no time"),
            ("vault=5m,", "there is no ``"),
            ("vault=5m,stail=1h", "there is no `stail`"),
            ("vault=5m,stale", "`` is no time"),
            ("vault=5m,stale=1h,stale=2h", "`stale` is given twice"),
        ] {
            let error = rule(text).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
        let twice = ["v=1s", "v=2s"].map(|text| rule(text).unwrap());
        assert!(cache(&twice).is_err());
    }
}
