// Dapr's own JavaScript SDK, unmodified, against a running server: a line for each call and its
// outcome. Every expectation is what the SDK gives against `daprd`.
import { writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { setTimeout as sleep } from "node:timers/promises";
import { isDeepStrictEqual, inspect } from "node:util";
import { CommunicationProtocolEnum, DaprClient } from "@dapr/dapr";

let failed = false;

// What a call came to; and why, where that is all that the SDK can do.
function show(sdk, call, outcome, expected, why = "") {
  const ok = isDeepStrictEqual(outcome, expected);
  failed ||= !ok;
  const shown = ok ? (why ? `ok, ${why}` : "ok") : `${inspect(outcome)} in place of ${inspect(expected)}`;
  console.log(`| ${sdk} | ${call} | ${shown} |`);
}

// What a call rejects with: Dapr's code over HTTP, the status over gRPC.
async function refusal(call) {
  try {
    await call();
    return "answered";
  } catch (error) {
    const codes = /ERR_[A-Z_]+/.exec(error.message);
    return codes ? codes[0] : (error.code ?? error.message);
  }
}

// Half a second between two of sixty tries, unless one says otherwise.
createRequire(import.meta.url)("@dapr/dapr/utils/Settings.util").Settings.daprSidecarPollingDelayMs = 5;

const logger = { level: "error" };
const host = "127.0.0.1";
const protocols = [
  ["javascript, HTTP", CommunicationProtocolEnum.HTTP, process.env.DAPR_HTTP_PORT],
  ["javascript, gRPC", CommunicationProtocolEnum.GRPC, process.env.DAPR_GRPC_PORT],
];
const refused = {
  "javascript, HTTP": ["ERR_PERMISSION_DENIED", "ERR_SECRET_GET", "ERR_SECRET_STORE_NOT_FOUND"],
  "javascript, gRPC": [7, 13, 3],
};

const daprApiToken = process.env.DAPR_API_TOKEN;

async function secrets() {
  for (const [sdk, communicationProtocol, daprPort] of protocols) {
    const options = { daprHost: host, daprPort, communicationProtocol, logger };
    const client = new DaprClient({ ...options, daprApiToken });
    await client.start();
    show(sdk, "start-up wait", client.getIsInitialized(), true);
    show(sdk, "get", await client.secret.get("file", "redis"), { redis: "one" });
    // Over HTTP the SDK puts the key into the path as it is.
    const slash = communicationProtocol === CommunicationProtocolEnum.HTTP ? "a%2Fb" : "a/b";
    show(sdk, "key with a slash", await client.secret.get("file", slash), { "a/b": "two" });
    const all = { redis: { redis: "one" }, "a/b": { "a/b": "two" } };
    show(sdk, "bulk", await client.secret.getBulk("file"), all);
    const [denied, absent, unknown] = refused[sdk];
    show(sdk, "denied", await refusal(() => client.secret.get("file", "denied")), denied);
    show(sdk, "absent", await refusal(() => client.secret.get("file", "nope")), absent);
    show(sdk, "unknown store", await refusal(() => client.secret.get("none", "x")), unknown);
    const metadata = await client.metadata.get();
    const names = metadata.components.map((component) => component.name);
    show(sdk, "metadata", [metadata.id, names], ["myapp", ["file", "cfg"]]);
    const stranger = new DaprClient({ ...options, daprApiToken: "" });
    const outcome = await refusal(() => stranger.secret.get("file", "redis"));
    const why = "its start-up wait asks for metadata, and gives up";
    show(sdk, "no token", outcome, "DAPR_SIDECAR_COULD_NOT_BE_STARTED", why);
    await client.stop();
  }
}

async function configuration() {
  for (const [sdk, communicationProtocol, daprPort] of protocols) {
    const options = { daprHost: host, daprPort, communicationProtocol, logger };
    const client = new DaprClient({ ...options, daprApiToken });
    if (communicationProtocol === CommunicationProtocolEnum.HTTP) {
      const why = "refused: it has configuration over gRPC alone";
      const store = client.configuration;
      const get = await refusal(() => store.get("cfg", ["orderId"]));
      show(sdk, "configuration get", get, "HTTP is currently not supported.", why);
      const subscribe = await refusal(() => store.subscribe("cfg", () => {}));
      show(sdk, "configuration subscribe", subscribe, "HTTP is currently not supported.", why);
      await client.stop();
      continue;
    }
    const got = await client.configuration.get("cfg", ["orderId"]);
    show(sdk, "configuration get", got.items.orderId.value, "100");
    const changes = [];
    const stream = await client.configuration.subscribeWithKeys("cfg", ["orderId"], async (data) => {
      changes.push(data.items.orderId.value);
    });
    // The SDK does not say when it is subscribed; on its connection, this call comes after that one.
    await client.configuration.get("cfg", ["orderId"]);
    writeFileSync(process.env.ITEMS, "orderId: '102'\n");
    for (let tries = 0; changes.length === 0 && tries < 200; tries++) await sleep(50);
    show(sdk, "configuration subscribe", changes, ["102"]);
    await stream.stop();
    writeFileSync(process.env.ITEMS, "orderId: '103'\n");
    // It is there for who asks, and nobody is told.
    let now;
    for (let tries = 0; now !== "103" && tries < 200; tries++) {
      await sleep(50);
      now = (await client.configuration.get("cfg", ["orderId"])).items.orderId.value;
    }
    await sleep(500);
    show(sdk, "configuration unsubscribe", [now, changes], ["103", ["102"]]);
    await client.stop();
  }
}

await secrets();
await configuration();
process.exit(failed ? 1 : 0);
