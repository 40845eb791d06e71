//! Who may read which secret: `spec.secrets.scopes` of a Dapr Configuration.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;

use crate::error::Class;
use crate::problem::{Place, Problem, Severity, printable};
use crate::run::Run;
use crate::suggest;

/// What a scope says of secrets that none of its lists name.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum DefaultAccess {
    /// They may be read. Dapr's default.
    #[default]
    Allow,
    /// They may not be read.
    Deny,
}

/// The policy for one store. `Debug` does not show names that came from variables.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct SecretsScope {
    /// The store that it is for.
    pub store: String,
    /// What holds for secrets that no list names.
    pub default_access: DefaultAccess,
    /// Where this is not empty it alone decides: these may be read, and nothing else.
    pub allowed: Vec<Entry>,
    /// These may not be read.
    pub denied: Vec<Entry>,
    /// Where the scope stands, if in a document.
    pub place: Option<Place>,
    /// Whether its store's name may hold what a variable held.
    pub(crate) is_hidden: bool,
}

/// A name in a scope. `Debug` does not show one that came from a variable.
#[derive(Clone)]
#[non_exhaustive]
pub struct Entry {
    /// The secret's name, in its exact case.
    pub secret: String,
    /// Where it stands, if in a document.
    pub place: Option<Place>,
    /// Whether the name may hold what a variable held.
    pub(crate) is_hidden: bool,
}

/// What stands in messages for a name that may hold what a variable held.
const HIDDEN: &str = "[from a variable]";

/// A name for a message.
fn shown(name: &str, is_hidden: bool) -> String {
    if is_hidden {
        HIDDEN.to_owned()
    } else {
        format!("`{}`", printable(name))
    }
}

impl Entry {
    fn of(secret: impl Into<String>) -> Self {
        Self {
            secret: secret.into(),
            place: None,
            is_hidden: false,
        }
    }
}

impl fmt::Debug for SecretsScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretsScope")
            .field("store", &shown(&self.store, self.is_hidden))
            .field("default_access", &self.default_access)
            .field("allowed", &self.allowed)
            .field("denied", &self.denied)
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("secret", &shown(&self.secret, self.is_hidden))
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

impl SecretsScope {
    /// A scope that allows everything in a store.
    pub fn new(store: impl Into<String>) -> Self {
        Self {
            store: store.into(),
            ..Self::default()
        }
    }

    /// Denies what no list names.
    #[must_use]
    pub fn deny_by_default(mut self) -> Self {
        self.default_access = DefaultAccess::Deny;
        self
    }

    /// Allows a secret; from the first one on, only those allowed may be read.
    #[must_use]
    pub fn allow(mut self, secret: impl Into<String>) -> Self {
        self.allowed.push(Entry::of(secret));
        self
    }

    /// Denies a secret.
    #[must_use]
    pub fn deny(mut self, secret: impl Into<String>) -> Self {
        self.denied.push(Entry::of(secret));
        self
    }
}

/// A scope, and its names as sets: each request and each secret of a bulk read is looked up.
#[derive(Clone)]
struct Indexed {
    scope: SecretsScope,
    allowed: HashSet<String>,
    denied: HashSet<String>,
}

impl fmt::Debug for Indexed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.scope.fmt(f)
    }
}

impl From<SecretsScope> for Indexed {
    fn from(scope: SecretsScope) -> Self {
        let names = |entries: &[Entry]| {
            let names = entries.iter().map(|entry| entry.secret.clone());
            names.collect()
        };
        Self {
            allowed: names(&scope.allowed),
            denied: names(&scope.denied),
            scope,
        }
    }
}

impl Indexed {
    /// Decides in Dapr's order: a list of allowed secrets alone, else the denied ones, else the
    /// default.
    fn decide(&self, secret: &str) -> Decision {
        if !self.allowed.is_empty() {
            return if self.allowed.contains(secret) {
                Decision::Allow
            } else {
                Decision::Deny(Rule::NotAllowed)
            };
        }
        if self.denied.contains(secret) {
            return Decision::Deny(Rule::Denied);
        }
        match self.scope.default_access {
            DefaultAccess::Allow => Decision::Allow,
            DefaultAccess::Deny => Decision::Deny(Rule::Default),
        }
    }
}

/// Whether a secret may be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Decision {
    /// It may.
    Allow,
    /// It may not, because of this rule.
    Deny(Rule),
}

/// What in a scope denies a secret.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Rule {
    /// `defaultAccess: deny`.
    Default,
    /// `deniedSecrets` names it.
    Denied,
    /// `allowedSecrets` does not name it.
    NotAllowed,
    /// The store has no scope, and the policy is [closed](Policy::closed).
    NoScope,
}

impl Rule {
    /// What its owner can do, for a hint.
    pub fn remedy(self, store: &str, secret: &str) -> String {
        match self {
            Self::Denied => {
                format!("remove `{secret}` from `deniedSecrets` of scope `{store}`")
            }
            Self::NoScope => format!("add a scope for store `{store}`"),
            Self::Default | Self::NotAllowed => {
                format!("add `{secret}` to `allowedSecrets` of scope `{store}`")
            }
        }
    }
}

/// The policy for all stores. A store without a scope is open, as in Dapr, unless the policy is
/// [closed](Self::closed). `Debug` shows the scopes without the names that came from variables.
#[derive(Clone, Default)]
pub struct Policy {
    scopes: BTreeMap<String, Indexed>,
    is_closed: bool,
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("scopes", &self.scopes.values().collect::<Vec<_>>())
            .field("is_closed", &self.is_closed)
            .finish()
    }
}

impl Policy {
    /// A policy that allows everything.
    pub fn open() -> Self {
        Self::default()
    }

    /// A policy that denies every store without a scope: for documents that may declare stores, one
    /// of which could read under another name what a scope denies. A configuration's scopes are
    /// added to it.
    pub fn closed() -> Self {
        Self {
            is_closed: true,
            ..Self::default()
        }
    }

    /// Takes over the scopes of a configuration, in place of its own.
    pub(crate) fn configured(self, configuration: Option<Self>) -> Self {
        match configuration {
            Some(Self { scopes, .. }) => Self { scopes, ..self },
            None => self,
        }
    }

    /// Adds a scope; fails where its store has one already, as Dapr does.
    pub fn with_scope(mut self, scope: SecretsScope) -> Result<Self, RepeatedScope> {
        self.add_scope(scope)?;
        Ok(self)
    }

    /// The same to this policy.
    pub(crate) fn add_scope(&mut self, scope: SecretsScope) -> Result<(), RepeatedScope> {
        let store = scope.store.clone();
        match self.scopes.insert(store.clone(), scope.into()) {
            Some(_) => Err(RepeatedScope { store }),
            None => Ok(()),
        }
    }

    /// Whether a secret of a store may be read. Names are compared exactly.
    pub fn decide(&self, store: &str, secret: &str) -> Decision {
        match self.scopes.get(store) {
            Some(scope) => scope.decide(secret),
            None if self.is_closed => Decision::Deny(Rule::NoScope),
            None => Decision::Allow,
        }
    }

    /// What decides about a secret of a store: `allowedSecrets`, `deniedSecrets` or
    /// `defaultAccess` of its scope, or `none` where it has no scope.
    pub fn decided_by(&self, store: &str, secret: &str) -> &'static str {
        match self.scopes.get(store) {
            Some(scope) if !scope.allowed.is_empty() => "allowedSecrets",
            Some(scope) if scope.denied.contains(secret) => "deniedSecrets",
            Some(_) => "defaultAccess",
            None => "none",
        }
    }

    /// Whether there can be a secret of this store that may be read.
    pub(crate) fn allows_any(&self, store: &str) -> bool {
        match self.scopes.get(store) {
            Some(Indexed { scope, allowed, .. }) => {
                !allowed.is_empty() || scope.default_access == DefaultAccess::Allow
            }
            None => !self.is_closed,
        }
    }

    /// The scopes, by the name of their store.
    pub fn scopes(&self) -> impl Iterator<Item = &SecretsScope> {
        self.scopes.values().map(|indexed| &indexed.scope)
    }

    /// Scopes of stores that do not exist: each leaves open the store that was meant.
    pub(crate) fn unknown_scopes(&self, stores: &BTreeSet<String>, run: &Run) -> Vec<Problem> {
        let unknown = self
            .scopes()
            .filter(|scope| !stores.contains(&scope.store))
            .map(|scope| {
                let store = shown(&scope.store, scope.is_hidden);
                let message = format!("this scope is for store {store}, which does not exist");
                let known = stores.iter().map(String::as_str);
                let spend = |cost| !scope.is_hidden && run.spend(cost);
                let hint = suggest::among_within("stores", &scope.store, known, spend);
                warning(scope.place.as_ref(), message, hint)
            });
        unknown.collect()
    }

    /// Entries for stores that exist which no reference names: a slip, or no longer needed.
    pub(crate) fn unused_entries(
        &self,
        stores: &BTreeSet<String>,
        used: &BTreeMap<&str, BTreeSet<&str>>,
        run: &Run,
    ) -> Vec<Problem> {
        let mut problems = Vec::new();
        let none = BTreeSet::new();
        for scope in self.scopes().filter(|scope| stores.contains(&scope.store)) {
            let names = used.get(scope.store.as_str()).unwrap_or(&none);
            for entry in scope.allowed.iter().chain(&scope.denied) {
                if names.contains(entry.secret.as_str()) {
                    continue;
                }
                let secret = shown(&entry.secret, entry.is_hidden);
                let store = shown(&scope.store, scope.is_hidden);
                let message = format!("no reference names secret {secret} of store {store}");
                let known = names.iter().copied();
                let spend = |cost| !entry.is_hidden && run.spend(cost);
                let nearest = suggest::nearest_within(&entry.secret, known, spend);
                let hint = nearest
                    .map(|nearest| format!("did you mean `{}`?", printable(nearest)))
                    .unwrap_or_default();
                problems.push(warning(entry.place.as_ref(), message, hint));
            }
        }
        problems
    }
}

fn warning(place: Option<&Place>, message: String, hint: String) -> Problem {
    Problem::new(Class::DocumentSchema, place.cloned(), message, hint)
        .with_severity(Severity::Warning)
}

/// Two scopes are for one store.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{} storeName is repeated in secrets configuration", printable(store))]
#[non_exhaustive]
pub struct RepeatedScope {
    /// The store.
    pub store: String,
}

#[cfg(test)]
mod tests {
    use super::{Decision, Policy, Rule, SecretsScope};

    fn decide(scope: SecretsScope, secret: &str) -> Decision {
        Policy::open()
            .with_scope(scope)
            .unwrap()
            .decide("s", secret)
    }

    #[test]
    fn allowed_secrets_alone_decide() {
        let scope = || SecretsScope::new("s").allow("a").deny("a");
        assert_eq!(decide(scope(), "a"), Decision::Allow);
        assert_eq!(decide(scope(), "b"), Decision::Deny(Rule::NotAllowed));
    }

    #[test]
    fn denied_secrets_come_before_the_default() {
        let scope = || SecretsScope::new("s").deny("a");
        assert_eq!(decide(scope(), "a"), Decision::Deny(Rule::Denied));
        assert_eq!(decide(scope(), "A"), Decision::Allow);
        assert_eq!(
            decide(scope().deny_by_default(), "b"),
            Decision::Deny(Rule::Default)
        );
    }

    #[test]
    fn a_store_without_a_scope_is_open() {
        let policy = Policy::open()
            .with_scope(SecretsScope::new("s").deny_by_default())
            .unwrap();
        assert_eq!(policy.decide("S", "a"), Decision::Allow);
    }

    #[test]
    fn a_store_without_a_scope_is_closed_where_the_policy_is() {
        let policy = Policy::closed().with_scope(SecretsScope::new("s")).unwrap();
        assert_eq!(policy.decide("s", "a"), Decision::Allow);
        assert_eq!(policy.decide("t", "a"), Decision::Deny(Rule::NoScope));
        assert!(!policy.allows_any("t"));
        let configured = Policy::open().with_scope(SecretsScope::new("u")).unwrap();
        let policy = policy.configured(Some(configured));
        assert_eq!(policy.decide("u", "a"), Decision::Allow);
        assert_eq!(policy.decide("s", "a"), Decision::Deny(Rule::NoScope));
    }

    #[test]
    fn a_store_has_one_scope() {
        let policy = Policy::open().with_scope(SecretsScope::new("s")).unwrap();
        assert!(policy.with_scope(SecretsScope::new("s")).is_err());
    }
}
