"""Resolves the references of a manifest with secrets from a dict.

    python resolve.py [--reveal] MANIFEST
"""

import argparse
import sys
from pathlib import Path

from wasmtime import Engine, Store
from wasmtime.component import Component, Linker, Record, ResourceHost, ResourceType, Variant

from report import report

SECRET = 1  # tells this host's resource types apart
GUEST = Path(__file__).resolve().parents[3] / "host" / "guest" / "keyref_guest.wasm"


class SecretStore:
    """The import: serves secrets as handles. A handle is a number that this host chooses."""

    # Example values only: a real store reads them from where they are kept.
    SECRETS = {"kafka-credentials": {"username": "tasks-producer", "password": "kafka-secret-pass"}}

    def __init__(self):
        self.values = {}

    def add_to(self, linker):
        with linker.root() as root:
            with root.add_instance("keyref:secrets/secret-store@0.1.0") as interface:
                interface.add_resource("secret", ResourceType.host(SECRET), self.drop)
                interface.add_func("get-many", self.get_many)

    def get_many(self, _store, requests):
        """Answers each request with a handle or a failure, in the order of the requests.

        The two sides of this `result` have different classes, so wasmtime takes each as it is.
        """
        return [self.get(request.source) for request in requests]

    def get(self, source):
        # Policy is decided here: a document only asks.
        if isinstance(source, str):  # the case `environment`; the case `secret` is a record
            return Variant("denied")
        if source.store != "kubernetes-secrets":
            return Variant("store-not-found")
        if source.namespace not in ("", "default"):
            return Variant("denied")

        keys = self.SECRETS.get(source.name)
        if keys is None:
            return Variant("secret-not-found")
        if source.key not in keys:
            return Variant("key-not-found", sorted(keys)[:20])
        return self.handle(keys[source.key])

    def handle(self, value):
        number = len(self.values)
        self.values[number] = value
        return ResourceHost.own(number, SECRET)

    def drop(self, _store, number):
        """Called when the guest, or the host, drops a handle."""
        self.values[number] = None


class DocumentSet:
    """The guest's resource of that name: documents, parsed once."""

    def __init__(self, store, instance, documents):
        interface = instance.get_export_index(store, "keyref:secrets/resolver@0.1.0")

        def function(name):
            return instance.get_func(store, instance.get_export_index(store, name, interface))

        this = function("[constructor]document-set")(store, documents)

        def method(name):
            call = function(f"[method]document-set.{name}")
            return lambda *arguments: call(store, this, *arguments)

        self.components = method("components")
        self.configurations = method("configurations")
        self.problems = method("problems")
        self.requests = method("requests")
        self.resolve = method("resolve")


def document(name, kind, text):
    record = Record()
    record.name, record.kind, record.text = name, kind, text
    return record


def main():
    parser = argparse.ArgumentParser(description="Resolves the references of a manifest.")
    parser.add_argument("--reveal", action="store_true", help="show the values of secrets")
    parser.add_argument("manifest")
    arguments = parser.parse_args()
    path = arguments.manifest

    engine = Engine()
    store = Store(engine)
    linker = Linker(engine)
    secrets = SecretStore()
    secrets.add_to(linker)
    instance = linker.instantiate(store, Component(engine, GUEST.read_bytes()))

    documents = DocumentSet(store, instance, [document(path, "manifest", Path(path).read_bytes())])
    outcome = documents.resolve(list(range(len(documents.components()))))
    for answer in outcome.answers:
        if not isinstance(answer.secret, Variant):
            # The handle leaves the guest for good, and becomes this host's own number again.
            answer.secret = answer.secret.to_host(store).rep

    def show(number):
        return secrets.values[number] if arguments.reveal else "***"

    return 0 if report(path, documents, outcome, show) else 1


if __name__ == "__main__":
    sys.exit(main())
