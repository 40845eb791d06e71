//! What is said where a secret cannot be had, and of what may have been meant.

use crate::advice;
use crate::error::{Class, SecretError};
use crate::policy::{Decision, Policy, Rule};
use crate::problem::printable;
use crate::run::Run;
use crate::secret::Secret;
use crate::stores::{SecretStore, StoreError};
use crate::suggest;

/// A store's error, with what was asked for.
pub(crate) fn of_store(error: StoreError, store: &str, secret: &str) -> SecretError {
    let StoreError {
        class,
        message,
        hint,
        property: _,
    } = error;
    let store = printable(store);
    let place = if secret.is_empty() {
        format!("store `{store}`")
    } else {
        format!("secret `{}` of store `{store}`", printable(secret))
    };
    let mut error = SecretError::new(class, format!("{place}: {message}"))
        .with_hint(advice::or_of_store(hint, class));
    error.reason = message;
    error
}

/// A store has no such secret. What it has that policy does not allow is not named.
pub(crate) fn no_secret(
    store_name: &str,
    store: &dyn SecretStore,
    name: &str,
    policy: &Policy,
    run: &Run,
) -> SecretError {
    // Names of one namespace are nothing for callers of another.
    let is_told = !store.is_namespaced() && run.spend(0);
    let known = is_told.then(|| store.known_names());
    // Looking at each name costs, too.
    run.spend(known.as_ref().map_or(0, Vec::len) * 16);
    let allowed = known
        .into_iter()
        .flatten()
        .filter(|name| policy.decide(store_name, name) == Decision::Allow);
    let nearest = suggest::nearest_within(name, allowed, |cost| run.spend(cost));
    let hint = match nearest.map(printable) {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None if store.is_namespaced() => {
            "check its name, and the namespace that the store reads".to_owned()
        }
        None => "check its name".to_owned(),
    };
    let reason = store.absence(name);
    let (store, name) = (printable(store_name), printable(name));
    let message = format!("store `{store}` has no secret `{name}`");
    let mut error = SecretError::new(Class::SecretAbsent, message).with_hint(hint);
    error.reason = reason;
    error
}

/// A secret has no such key.
pub(crate) fn no_key(secret: &str, key: &str, found: &Secret, run: &Run) -> SecretError {
    const MOST: usize = 20;
    let listed = || found.keys().take(MOST);
    let is_listed = run.list(listed().map(str::len).sum());
    let hint = if is_listed {
        suggest::among_within("keys", key, found.keys(), |cost| run.spend(cost))
    } else {
        "check the key".to_owned()
    };
    let mut error = SecretError::new(
        Class::KeyAbsent,
        format!(
            "secret `{}` has no key `{}`",
            printable(secret),
            printable(key)
        ),
    )
    .with_hint(hint);
    if is_listed {
        error.keys = listed().map(printable).collect();
    }
    error
}

/// There is no such store.
pub(crate) fn no_store<'n>(
    store: &str,
    known: impl Iterator<Item = &'n str> + Clone,
    run: &Run,
) -> SecretError {
    const MOST: usize = 20;
    if store.is_empty() {
        return SecretError::new(Class::StoreUnknown, "the reference names no secret store")
            .with_hint("add `auth: {secretStore: NAME}` at the top level of the component");
    }
    let hint = if known.clone().next().is_none() {
        "there are no stores: declare one as a component, or give one".to_owned()
    } else if run.list(known.clone().take(MOST).map(str::len).sum()) {
        suggest::among_within("stores", store, known, |cost| run.spend(cost))
    } else {
        "check its name".to_owned()
    };
    let message = format!("there is no secret store `{}`", printable(store));
    SecretError::new(Class::StoreUnknown, message).with_hint(hint)
}

/// Policy does not allow a secret.
pub(crate) fn denied(store: &str, secret: &str, rule: Rule) -> SecretError {
    let (store, secret) = (printable(store), printable(secret));
    let message = format!("access denied by policy to get `{secret}` from `{store}`");
    SecretError::new(Class::PolicyDenied, message).with_hint(rule.remedy(&store, &secret))
}

/// A document names a namespace that is not its own.
pub(crate) fn no_namespace(namespace: &str) -> SecretError {
    let namespace = printable(namespace);
    let message = format!("namespace `{namespace}` is not granted to this document");
    SecretError::new(Class::PolicyDenied, message)
        .with_hint("name the namespace in the context, or grant it with the builder")
}

/// A variable that nobody may refer to.
pub(crate) fn refused_variable(name: &str) -> SecretError {
    let message = format!(
        "environment variable `{}` may not be referenced",
        printable(name)
    );
    SecretError::new(Class::PolicyDenied, message).with_hint(
        "names that begin with `DAPR_`, `APP_API_TOKEN`, and names with a space are refused",
    )
}

/// A variable that is not set.
pub(crate) fn no_variable(name: &str) -> SecretError {
    let message = format!("environment variable `{}` is not set", printable(name));
    SecretError::new(Class::SecretAbsent, message).with_hint("set it, or write the `value` itself")
}
