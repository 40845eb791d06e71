"""The contract as wasmtime-py sees it: what the guest imports, and that every answer crosses it as
it was given.

    python contract.py FOLDER      FOLDER holds contract.yaml and configuration.yaml

The example's `resolve.py` must be on PYTHONPATH.
"""

import sys
from pathlib import Path

from wasmtime import Engine, Store
from wasmtime.component import Component, Linker, ResourceAny, Variant

from resolve import GUEST, DocumentSet, SecretStore, document

PAYLOADS = {"key-not-found": ["password", "username"], "other": "store-misconfigured"}
FOUND = {"first": "password", "second": "password", "Authorization": "header", "privateKey": "key"}
FAILED = {
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


def main(folder):
    guest = Guest(folder)
    one_interface_is_imported(guest)
    documents_are_read(guest)
    answers_cross_as_they_are(guest)
    handles_can_be_dropped(guest)
    an_error_of_the_store_comes_through(guest)


def one_interface_is_imported(guest):
    component = guest.component.type
    equal(list(component.imports(guest.engine)), ["keyref:secrets/secret-store@0.1.0"])
    equal(list(component.exports(guest.engine)), ["keyref:secrets/resolver@0.1.0"])


def documents_are_read(guest):
    _, documents = guest.load(EveryAnswer())
    components = documents.components()
    equal([component.kind for component in components], ["component", "http-endpoint"])
    equal([component.name for component in components], ["every-answer", "every-place"])
    equal(components[0].labels, [("team", "orders")])
    equal([item.name for item in components[1].items], ["Authorization", "privateKey"])
    equal([item.place for item in components[1].items], ["header", "client-tls"])

    [configuration] = documents.configurations()
    equal((configuration.name, configuration.kind), ("policy", "configuration"))
    allowed = getattr(configuration.scopes[0], "allowed-secrets")
    equal([entry.name for entry in allowed], ["found"])

    problems = documents.problems()
    equal([getattr(problem, "class") for problem in problems], ["syntax", "syntax"])
    equal([problem.severity for problem in problems], ["error", "error"])
    equal([problem.document for problem in problems], [0, 2])
    positions = [(problem.position.line, problem.position.column) for problem in problems]
    equal(positions, [(54, 5), (1, 2)])


def answers_cross_as_they_are(guest):
    secrets = EveryAnswer()
    store, documents = guest.load(secrets)
    components = documents.components()

    # An index that is given twice or out of range is left out.
    outcome = documents.resolve([1, 0, 0, 7])
    equal([resolved.component for resolved in outcome.components], [1, 0])
    [asked] = secrets.calls
    equal(sorted(map(text, asked)), sorted(map(text, documents.requests())))

    def taken(secret):
        return secret if isinstance(secret, Variant) else secrets.values[secret.to_host(store).rep]

    values = [taken(answer.secret) for answer in outcome.answers]
    items, defaults = {}, {}
    for resolved in outcome.components:
        for resolved_item in resolved.items:
            [part] = resolved_item.parts
            item = components[resolved.component].items[resolved_item.item]
            equal(outcome.answers[part].request, item.request)
            items[item.name] = values[part]
            defaults[item.name] = resolved_item.default
    failed = {item: Variant(failure, PAYLOADS.get(failure)) for item, failure in FAILED.items()}
    equal(items, {**FOUND, **failed})
    equal((defaults["first"], defaults["second"]), (None, "fallback"))


def handles_can_be_dropped(guest):
    secrets = EveryAnswer()
    store, documents = guest.load(secrets)
    for answer in documents.resolve([0]).answers:
        if isinstance(answer.secret, ResourceAny):
            answer.secret.drop(store)
    equal(secrets.values, {0: None})


def an_error_of_the_store_comes_through(guest):
    _, documents = guest.load(Broken())
    raises("the store is broken", lambda: documents.resolve([0]))
    raises("cannot enter component instance", documents.components)


class Guest:
    """The compiled guest, and the documents for it."""

    def __init__(self, folder):
        self.engine = Engine()
        self.component = Component(self.engine, GUEST.read_bytes())
        self.documents = [
            document("manifest", "manifest", (folder / "contract.yaml").read_bytes()),
            document("policy", "configuration", (folder / "configuration.yaml").read_bytes()),
            document("not UTF-8", "manifest", b"a\xff"),
        ]

    def load(self, secrets):
        """A store, and in it a new instance's set of the documents."""
        store = Store(self.engine)
        linker = Linker(self.engine)
        secrets.add_to(linker)
        instance = linker.instantiate(store, self.component)
        return store, DocumentSet(store, instance, self.documents)


class EveryAnswer(SecretStore):
    """Answers with the failure that a secret is named for; the value of a secret is its key."""

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
        return Variant(source.name, PAYLOADS.get(source.name))


class Broken(SecretStore):
    """Raises on the first request."""

    def get(self, source):
        raise LookupError("the store is broken")


def text(request):
    source = request.source if isinstance(request.source, str) else vars(request.source)
    return repr((source, request.options))


def equal(actual, expected):
    if actual != expected:
        raise AssertionError(f"\n  is        {actual!r}\n  should be {expected!r}")


def raises(message, call):
    try:
        call()
    except Exception as error:  # the store's own, or wasmtime's
        if message not in str(error):
            raise AssertionError(f"should raise: {message}") from error
    else:
        raise AssertionError(f"should raise: {message}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
