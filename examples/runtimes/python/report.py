"""Prints what a manifest came to, in the form of `keyref resolve`."""

import sys
import unicodedata

from wasmtime.component import Variant


def report(path, documents, outcome, show):
    """Prints components to standard output and problems to standard error.

    Tells whether there was no error. A component that lacks a value is not printed. `show` gives
    the text for a secret.
    """
    components = documents.components()
    requests = documents.requests()
    problems = [
        (problem.position, problem.severity, problem.message, problem.hint)
        for problem in documents.problems()
    ]
    texts = []
    for resolved in outcome.components:
        component = components[resolved.component]
        failures = [
            failure for item in resolved.items for failure in failures_of(item, component, outcome)
        ]
        problems += failures
        if not failures:
            texts.append(text_of(component, resolved.items, requests, outcome, show))

    print("\n".join(texts), end="")
    for position, severity, message, hint in problems:
        place = f"{path}:{position.line}:{position.column}"
        print(f"{place}: {severity}: {printable(message)}", file=sys.stderr)
        if hint:
            print(f"  hint: {printable(hint)}", file=sys.stderr)
    return all(severity != "error" for _, severity, _, _ in problems)


def failures_of(resolved, component, outcome):
    item = component.items[resolved.item]
    for answer in answers_of(resolved, outcome):
        if isinstance(answer.secret, Variant):
            message = f"no value for `{item.name}` of `{component.name}`: {reason(answer.secret)}"
            yield item.position, "error", message, ""


def answers_of(resolved, outcome):
    """The answers in an item. A part is a string, the literal, or a number, the answer's index."""
    return [outcome.answers[part] for part in resolved.parts if isinstance(part, int)]


def reason(failure):
    if failure.payload is None:
        return failure.tag
    if failure.tag == "key-not-found":
        return f"{failure.tag}, but there are: {', '.join(failure.payload)}"
    return f"{failure.tag}: {failure.payload}"


def text_of(component, items, requests, outcome, show):
    values = [item.value or "" for item in component.items]
    for resolved in items:
        text = [
            part if isinstance(part, str) else show(outcome.answers[part].secret)
            for part in resolved.parts
        ]
        origins = [
            f"  <- {origin(requests[answer.request].source)}"
            for answer in answers_of(resolved, outcome)
        ]
        values[resolved.item] = "".join(text + origins)

    kind = "/".join(filter(None, [getattr(component, "component-type"), component.version]))
    width = max((len(item.name) for item in component.items), default=0)
    lines = [f"{component.name} ({kind})"]
    for item, value in zip(component.items, values):
        lines.append(f"  {item.name.ljust(width)}  {value}")
    return "".join(f"{printable(line)}\n" for line in lines)


def origin(source):
    if isinstance(source, str):
        return f"environment: {source}"
    return f"{source.store}: {source.name}, {source.key}"


def printable(text):
    """A document's text may hold characters that move a terminal's cursor or turn a line around."""
    def escaped(character):
        if unicodedata.category(character) in ("Cc", "Cf"):
            return f"\\u{{{ord(character):x}}}"
        return character

    return "".join(map(escaped, text))
