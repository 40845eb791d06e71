"""A Task API that holds no key: it reads its secrets and settings from Dapr's APIs.

Started as `uvicorn task_api:app`, beside `keyref serve` or `daprd`.
"""

import logging
from contextlib import asynccontextmanager

import grpc
from dapr.aio.clients import DaprClient as AsyncDaprClient
from dapr.clients import DaprClient
from fastapi import FastAPI, HTTPException

SECRETS = "kubernetes-secrets"
SETTINGS = "configstore"
KEYS = ["feature-x", "max-retries"]

log = logging.getLogger("task-api")


@asynccontextmanager
async def lifespan(app: FastAPI):
    """Loads the key before the first request; a missing one is told by each request that needs it."""
    app.state.notify_key, app.state.problem = None, None
    async with AsyncDaprClient() as dapr:
        try:
            found = await dapr.get_secret(store_name=SECRETS, key="notification-api")
            app.state.notify_key = found.secret["api-key"]
        except grpc.aio.AioRpcError as error:
            # Names alone: a value, or a part of one, is never logged.
            app.state.problem = error.details()
            log.error("the secret notification-api cannot be had: %s", error.details())
        settings = await dapr.get_configuration(store_name=SETTINGS, keys=KEYS)
        app.state.settings = {key: item.value for key, item in settings.items.items()}

    # The asynchronous client cannot subscribe in this release of the SDK; this one has a thread.
    with DaprClient() as dapr:
        subscription = dapr.subscribe_configuration(SETTINGS, KEYS, changed)
        yield
        if subscription:
            dapr.unsubscribe_configuration(SETTINGS, subscription)


app = FastAPI(lifespan=lifespan)


def changed(_subscription, response):
    """Takes over what has changed; an item without a value is gone."""
    for key, item in response.items.items():
        if item.value:
            app.state.settings[key] = item.value
        else:
            app.state.settings.pop(key, None)


@app.get("/settings")
async def settings():
    return dict(sorted(app.state.settings.items()))


@app.get("/credentials")
async def credentials():
    """The names of what a secret holds, each read by its own name; no value."""
    async with AsyncDaprClient() as dapr:
        one = (await dapr.get_secret(store_name=SECRETS, key="api-credentials")).secret
        all_of_them = (await dapr.get_bulk_secret(store_name=SECRETS)).secrets
    return {"api-credentials": sorted(one), "secrets": sorted(all_of_them)}


@app.post("/tasks/{task}/notify")
async def notify(task: int):
    if app.state.notify_key is None:
        raise HTTPException(500, f"notifications are not set up: {app.state.problem}")
    # A real one would send it with the key.
    return {"task": task, "notified": True}
