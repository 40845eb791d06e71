// Dapr's own JavaScript SDK, unmodified, against a running server: a line for each call and its
// outcome. Every expectation is what the SDK gives against `daprd`.
import { writeFileSync } from "node:fs";
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

async function secrets(token) {
  for (const [sdk, communicationProtocol, daprPort] of protocols) {
    const options = { daprHost: host, daprPort, communicationProtocol, logger };
    const client = new DaprClient({ ...options, daprApiToken: token });
    show(sdk, "get", await client.secret.get("file", "redis"), { redis: "one" });
    const all = { redis: { redis: "one" }, "a/b": { "a/b": "two" } };
    show(sdk, "bulk", await client.secret.getBulk("file"), all);
    const [denied, absent, unknown] = refused[sdk];
    show(sdk, "denied", await refusal(() => client.secret.get("file", "denied")), denied);
    show(sdk, "absent", await refusal(() => client.secret.get("file", "nope")), absent);
    show(sdk, "unknown store", await refusal(() => client.secret.get("none", "x")), unknown);
    const metadata = await client.metadata.get();
    const names = metadata.components.map((component) => component.name);
    show(sdk, "metadata", [metadata.id, names], ["myapp", ["file", "cfg"]]);
    await client.stop();
  }
}

async function configuration() {
  for (const [sdk, communicationProtocol, daprPort] of protocols) {
    const client = new DaprClient({ daprHost: host, daprPort, communicationProtocol, logger });
    if (communicationProtocol === CommunicationProtocolEnum.HTTP) {
      const outcome = await refusal(() => client.configuration.get("cfg", ["orderId"]));
      const isMissing = /not supported|not implemented/i.test(outcome);
      show(sdk, "configuration get", isMissing, true, "refused: it has configuration over gRPC alone");
      await client.stop();
      continue;
    }
    const got = await client.configuration.get("cfg", ["orderId"]);
    show(sdk, "configuration get", got.items.orderId.value, "100");
    const changes = [];
    const stream = await client.configuration.subscribeWithKeys("cfg", ["orderId"], async (data) => {
      changes.push(data.items.orderId.value);
    });
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

const token = process.env.DAPR_API_TOKEN;
await (token ? secrets(token) : configuration());
process.exit(failed ? 1 : 0);
