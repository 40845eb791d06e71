// Resolves the references of a manifest with secrets from a backend over HTTP.
//
//   node resolve-async.mjs [--reveal] MANIFEST
//
// The guest asks synchronously and Node 20 cannot suspend it, so nothing waits inside the guest:
// the set says what it needs, the host fetches that, and `getMany` answers from what was fetched.

import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';

import { instantiate } from './guest/guest.js';
import { commandLine, report } from './report.mjs';
import { Secret, failure, keyOf } from './secret.mjs';

/** Fetches what the requests need, each secret once, and gives the answers by request. */
async function fetchAll(requests, backend) {
  const fetches = new Map();
  const fetchOnce = (namespace, name) => {
    const secret = JSON.stringify([namespace, name]);
    if (!fetches.has(secret)) fetches.set(secret, fetchSecret(backend, namespace, name));
    return fetches.get(secret);
  };
  const answers = requests.map(async (request) => [id(request), await answer(request, fetchOnce)]);
  return new Map(await Promise.all(answers));
}

/** The guest hands requests of the set to `getMany` as they are, so their text identifies them. */
function id(request) {
  return JSON.stringify(request);
}

async function answer({ source: { tag, val } }, fetchOnce) {
  // Policy is decided here: a document only asks.
  if (tag === 'environment') return failure('denied');
  if (val.store !== 'kubernetes-secrets') return failure('store-not-found');

  const { keys, error } = await fetchOnce(val.namespace || 'default', val.name);
  return keys ? keyOf(keys, val.key) : failure(error);
}

/** The keys of one secret, or the failure that says why there are none. */
async function fetchSecret(backend, namespace, name) {
  const url = `${backend}/?${new URLSearchParams({ namespace, name })}`;
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(5_000) });
    if (!response.ok) return { error: FAILURES[response.status] ?? 'unavailable' };
    const keys = Object.entries(await response.json());
    return { keys: new Map(keys.map(([key, value]) => [key, new Secret(value)])) };
  } catch (error) {
    // A store that throws would end the guest, and every other answer with it.
    return { error: error.name === 'TimeoutError' ? 'timed-out' : 'unavailable' };
  }
}

const FAILURES = { 403: 'denied', 404: 'secret-not-found', 429: 'throttled', 504: 'timed-out' };

/** Stands for a real backend: a server on loopback that has one secret, of example values. */
async function startBackend() {
  const keys = { username: 'tasks-producer', password: 'kafka-secret-pass' };
  const server = createServer(({ url }, response) => {
    const asked = new URL(url, 'http://backend').searchParams;
    if (asked.get('namespace') !== 'default') return response.writeHead(403).end();
    if (asked.get('name') !== 'kafka-credentials') return response.writeHead(404).end();
    return response.end(JSON.stringify(keys));
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return server;
}

const { path, reveal } = commandLine();
let fetched = new Map();
const { resolver } = await instantiate(undefined, {
  'keyref:secrets/secret-store': {
    Secret,
    getMany: (requests) =>
      requests.map((request) => fetched.get(id(request)) ?? failure('denied')),
  },
});
const set = new resolver.DocumentSet([
  { name: path, kind: 'manifest', text: await readFile(path) },
]);

const server = await startBackend();
fetched = await fetchAll(set.requests(), `http://127.0.0.1:${server.address().port}`);
server.close();
const outcome = set.resolve(Uint32Array.from(set.components().keys()));

const show = (secret) => (reveal ? Secret.reveal(secret) : '***');
process.exitCode = report(path, set, outcome, show) ? 0 : 1;
