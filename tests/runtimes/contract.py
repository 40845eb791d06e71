"""The contract as wasmtime-py sees it: what the guest imports, and that every answer crosses it as it
was given.

    python contract.py FOLDER      FOLDER holds contract.yaml and configuration.yaml

`resolve.py` of the example must be on PYTHONPATH.
"""

import sys
from pathlib import Path

from wasmtime import Engine, Store
from wasmtime.component import Component, Linker, ResourceAny, Variant

from resolve import GUEST, DocumentSet, SecretStore, document

FAILURES = {
    "store-not-found": None,
    "denied": None,
    "secret-not-found": None,
    "key-not-found": ["password", "username"],
    "throttled": None,
    "timed-out": None,
    "unavailable": None,
    "other": "store-misconfigured",
}
ITEMS = {
    "no-store": "store-not-found",
    "refused": "denied",
    "no-secret": "secret-not-found",
    "no-key": "key-not-found",
    "too-many": "throttled",
    "too-slow": "timed-out",
    "no-backend": "unavailable",
    "anything": "other",
    "variable": "denied",
}


class EveryAnswer(SecretStore):
    """Answers with the failure that a secret is named for."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def get_many(self, store, requests):
        self.calls.append(requests)
        return super().get_many(store, requests)

    def get(self, source):
        if isinstance(source, str):
            return Variant("denied")
        if source.name == "found":
            return self.handle(source.key)
        return Variant(source.name, FAILURES[source.name])


class Broken(SecretStore):
    def get(self, source):
        raise LookupError("the store is broken")


def main(folder):
    engine = Engine()
    component = Component(engine, GUEST.read_bytes())
    equal(list(component.type.imports(engine)), ["keyref:secrets/secret-store@0.1.0"])
    equal(list(component.type.exports(engine)), ["keyref:secrets/resolver@0.1.0"])
    answers_cross_as_they_are(engine, component, folder)
    handles_can_be_dropped(engine, component, folder)
    an_error_of_the_store_comes_through(engine, component, folder)


def answers_cross_as_they_are(engine, component, folder):
    secrets = EveryAnswer()
    store, documents = load(engine, component, folder, secrets)

    components = documents.components()
    equal(
        [(component.kind, component.name) for component in components],
        [("component", "every-answer"), ("http-endpoint", "every-place")],
    )
    equal(components[0].labels, [("team", "orders")])
    equal(
        [(item.name, item.place) for item in components[1].items],
        [("Authorization", "header"), ("privateKey", "client-tls")],
    )
    [configuration] = documents.configurations()
    equal((configuration.name, configuration.kind), ("policy", "configuration"))
    allowed = getattr(configuration.scopes[0], "allowed-secrets")
    equal([entry.name for entry in allowed], ["found"])
    equal(
        [
            (getattr(problem, "class"), problem.severity, problem.document, vars(problem.position))
            for problem in documents.problems()
        ],
        [
            ("syntax", "error", 0, {"line": 54, "column": 5}),
            ("syntax", "error", 2, {"line": 1, "column": 2}),
        ],
    )

    # An index that is given twice or out of range is left out.
    outcome = documents.resolve([1, 0, 0, 7])
    equal(len(secrets.calls), 1)
    equal(len(secrets.calls[0]), len(documents.requests()))
    equal(all(request in documents.requests() for request in secrets.calls[0]), True)
    equal([resolved.component for resolved in outcome.components], [1, 0])

    def taken(secret):
        return secret if isinstance(secret, Variant) else secrets.values[secret.to_host(store).rep]

    values = [taken(answer.secret) for answer in outcome.answers]
    outcomes, defaults = {}, {}
    for resolved in outcome.components:
        for resolved_item in resolved.items:
            [part] = resolved_item.parts
            item = components[resolved.component].items[resolved_item.item]
            equal(outcome.answers[part].request, item.request)
            outcomes[item.name] = values[part]
            defaults[item.name] = resolved_item.default
    equal(
        outcomes,
        {name: Variant(failure, FAILURES[failure]) for name, failure in ITEMS.items()}
        | {"first": "password", "second": "password", "Authorization": "header", "privateKey": "key"},
    )
    equal((defaults["first"], defaults["second"]), (None, "fallback"))


def handles_can_be_dropped(engine, component, folder):
    secrets = EveryAnswer()
    store, documents = load(engine, component, folder, secrets)
    for answer in documents.resolve([0]).answers:
        if isinstance(answer.secret, ResourceAny):
            answer.secret.drop(store)
    equal(secrets.values, {0: None})


def an_error_of_the_store_comes_through(engine, component, folder):
    _, documents = load(engine, component, folder, Broken())
    raises("the store is broken", lambda: documents.resolve([0]))
    raises("cannot enter component instance", documents.components)


def load(engine, component, folder, secrets):
    """A store, and a set of all documents in it."""
    store = Store(engine)
    linker = Linker(engine)
    secrets.add_to(linker)
    instance = linker.instantiate(store, component)
    documents = [
        document("manifest", "manifest", (folder / "contract.yaml").read_bytes()),
        document("policy", "configuration", (folder / "configuration.yaml").read_bytes()),
        document("not UTF-8", "manifest", b"a\xff"),
    ]
    return store, DocumentSet(store, instance, documents)


def equal(actual, expected):
    if actual != expected:
        raise AssertionError(f"\n  is        {actual!r}\n  should be {expected!r}")


def raises(text, call):
    try:
        call()
    except Exception as error:  # each runtime error has a class of its own
        equal(text in str(error), True)
    else:
        raise AssertionError(f"should raise: {text}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
