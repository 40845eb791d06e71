"""Dapr's own Python SDK, unmodified, against a running server: a line for each call and its outcome.

Takes the addresses from the variables that the SDK itself reads. Every expectation is what the SDK
gives against `daprd`.
"""

import asyncio
import os
import queue
import sys
import time

import grpc
from dapr.aio.clients import DaprClient as AsyncDaprClient
from dapr.clients import DaprClient

FAILED = []


def show(sdk, call, outcome, expected, why=""):
    """What a call came to; and why, where that is all that the SDK can do."""
    ok = outcome == expected
    if not ok:
        FAILED.append((sdk, call))
    shown = (f"ok, {why}" if why else "ok") if ok else f"{outcome!r} in place of {expected!r}"
    print(f"| {sdk} | {call} | {shown} |")


def refusal(error):
    """The code of a refused call."""
    return error.code().name


def sync():
    sdk = "python, sync"
    begin = time.monotonic()
    with DaprClient() as client:
        show(sdk, "start-up wait", time.monotonic() - begin < 5, True)
        show(sdk, "get", client.get_secret("file", "redis").secret, {"redis": "one"})
        show(sdk, "key with a slash", client.get_secret("file", "a/b").secret, {"a/b": "two"})
        bulk = client.get_bulk_secret("file").secrets
        show(sdk, "bulk", bulk, {"redis": {"redis": "one"}, "a/b": {"a/b": "two"}})
        for call, store, key, code in REFUSED:
            try:
                client.get_secret(store, key)
                outcome = "answered"
            except grpc.RpcError as error:
                outcome = refusal(error)
            show(sdk, call, outcome, code)
        metadata = client.get_metadata()
        names = [component.name for component in metadata.registered_components]
        show(sdk, "metadata", (metadata.application_id, names), ("myapp", ["file", "cfg"]))


REFUSED = [
    ("denied", "file", "denied", "PERMISSION_DENIED"),
    ("absent", "file", "nope", "INTERNAL"),
    ("unknown store", "none", "x", "INVALID_ARGUMENT"),
]


async def asynchronous():
    sdk = "python, asyncio"
    begin = time.monotonic()
    async with AsyncDaprClient() as client:
        show(sdk, "start-up wait", time.monotonic() - begin < 5, True)
        show(sdk, "get", (await client.get_secret("file", "redis")).secret, {"redis": "one"})
        slash = (await client.get_secret("file", "a/b")).secret
        show(sdk, "key with a slash", slash, {"a/b": "two"})
        bulk = (await client.get_bulk_secret("file")).secrets
        show(sdk, "bulk", bulk, {"redis": {"redis": "one"}, "a/b": {"a/b": "two"}})
        for call, store, key, code in REFUSED:
            try:
                await client.get_secret(store, key)
                outcome = "answered"
            except grpc.aio.AioRpcError as error:
                outcome = refusal(error)
            show(sdk, call, outcome, code)


async def without_token():
    """The interceptor sends the token that the environment holds; these do not."""
    token = os.environ.pop("DAPR_API_TOKEN")
    try:
        with DaprClient() as client:
            client.get_secret("file", "redis")
            outcome = "answered"
    except grpc.RpcError as error:
        outcome = refusal(error)
    show("python, sync", "no token", outcome, "UNAUTHENTICATED")
    try:
        async with AsyncDaprClient() as client:
            await client.get_secret("file", "redis")
            outcome = "answered"
    except grpc.aio.AioRpcError as error:
        outcome = refusal(error)
    show("python, asyncio", "no token", outcome, "UNAUTHENTICATED")
    os.environ["DAPR_API_TOKEN"] = token


def configuration(with_token):
    sdk = "python, sync"
    items = os.environ["ITEMS"]
    suffix = ", token" if with_token else ""
    with DaprClient() as client:
        got = client.get_configuration("cfg", ["orderId"]).items
        show(sdk, f"configuration get{suffix}", got["orderId"].value, "100")
        changes = queue.Queue()

        def changed(subscription, response):
            changes.put({key: item.value for key, item in response.items.items()})

        subscription = client.subscribe_configuration("cfg", ["orderId"], changed)
        if with_token:
            why = "refused: its interceptor leaves the token out of this call"
            show(sdk, f"configuration subscribe{suffix}", subscription, None, why)
            return
        with open(items, "w") as file:
            file.write("orderId: '101'\n")
        change = changes.get(timeout=10)
        show(sdk, "configuration subscribe", change, {"orderId": "101"})
        ended = client.unsubscribe_configuration("cfg", subscription)
        show(sdk, "configuration unsubscribe", ended, True)


async def asynchronous_configuration():
    sdk = "python, asyncio"
    async with AsyncDaprClient() as client:
        got = (await client.get_configuration("cfg", ["orderId"])).items
        show(sdk, "configuration get", got["orderId"].value, "101")
        outcome = await client.subscribe_configuration("cfg", ["orderId"], lambda *_: None)
        why = "nothing: it walks an asynchronous stream as if it were not one"
        show(sdk, "configuration subscribe", outcome, None, why)
        outcome = await client.unsubscribe_configuration("cfg", "nobody")
        why = "told that there is none: it has no subscription to end"
        show(sdk, "configuration unsubscribe", outcome, False, why)


if sys.argv[1:] == ["token"]:
    sync()
    asyncio.run(asynchronous())
    asyncio.run(without_token())
    configuration(with_token=True)
else:
    configuration(with_token=False)
    asyncio.run(asynchronous_configuration())
sys.exit(1 if FAILED else 0)
