// The contract as Node sees it: what the guest imports, that every answer crosses it as it was
// given, and that no value is in the guest's memory.
//
//   node contract.mjs FOLDER      FOLDER holds contract.yaml and configuration.yaml

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { instantiate } from './guest/guest.js';
import { Secret } from './secret.mjs';

const VALUE = 'a value that only the host knows';
const PAYLOADS = { 'key-not-found': ['password', 'username'], other: 'store-misconfigured' };
const FOUND = { first: 'password', second: 'password', Authorization: 'header', privateKey: 'key' };
const FAILED = {
  'no-store': 'store-not-found',
  refused: 'denied',
  'no-secret': 'secret-not-found',
  'no-key': 'key-not-found',
  'too-many': 'throttled',
  'too-slow': 'timed-out',
  'no-backend': 'unavailable',
  anything: 'other',
  variable: 'denied',
};

async function main(folder) {
  const manifest = await readFile(join(folder, 'contract.yaml'));
  const configuration = await readFile(join(folder, 'configuration.yaml'));
  const documents = [
    { name: 'manifest', kind: 'manifest', text: manifest },
    { name: 'policy', kind: 'configuration', text: configuration },
    { name: 'not UTF-8', kind: 'manifest', text: Uint8Array.of(0x61, 0xff) },
  ];
  await oneInterfaceIsImported();
  await documentsAreRead(documents);
  await answersCrossAsTheyAre(documents);
  await noValueIsInTheMemoryOfTheGuest(documents);
  await anErrorOfTheStoreComesThrough(documents);
}

async function oneInterfaceIsImported() {
  const types = await readFile(new URL('guest/guest.d.ts', import.meta.url), 'utf8');
  const names = (type) => {
    const [, block] = new RegExp(`^export interface ${type} \\{\n([^}]*)\\}`, 'm').exec(types);
    return block.trim().split('\n').map((line) => /^\s*'?([^']+?)'?: typeof /.exec(line)[1]);
  };
  assert.deepEqual(names('ImportObject'), ['keyref:secrets/secret-store@0.1.0']);
  assert.deepEqual(names('Root'), ['keyref:secrets/resolver@0.1.0', 'resolver']);
}

async function documentsAreRead(documents) {
  const { set } = await load(documents, () => assert.fail('nothing is resolved'));
  const components = set.components();
  assert.deepEqual(components.map(({ kind, name }) => [kind, name]), [
    ['component', 'every-answer'],
    ['http-endpoint', 'every-place'],
  ]);
  assert.deepEqual(components[0].labels, [['team', 'orders']]);
  assert.deepEqual(components[1].items.map(({ name, place }) => [name, place]), [
    ['Authorization', 'header'],
    ['privateKey', 'client-tls'],
  ]);

  const [{ name, kind, scopes }] = set.configurations();
  assert.deepEqual([name, kind], ['policy', 'configuration']);
  assert.deepEqual(scopes[0].allowedSecrets.map((entry) => entry.name), ['found']);

  const problems = set.problems();
  assert.deepEqual(problems.map((problem) => [problem.class, problem.severity]), [
    ['syntax', 'error'],
    ['syntax', 'error'],
  ]);
  assert.deepEqual(problems.map(({ document, position }) => [document, position]), [
    [0, { line: 54, column: 5 }],
    [2, { line: 1, column: 2 }],
  ]);
}

async function answersCrossAsTheyAre(documents) {
  const store = new EveryAnswer();
  const { set } = await load(documents, (requests) => store.getMany(requests));
  const components = set.components();

  // An index that is given twice or out of range is left out.
  const { answers, components: resolved } = set.resolve(Uint32Array.of(1, 0, 0, 7));
  assert.deepEqual(resolved.map(({ component }) => component), [1, 0]);
  assert.equal(store.calls.length, 1);
  const texts = (requests) => requests.map((request) => JSON.stringify(request)).sort();
  assert.deepEqual(texts(store.calls[0]), texts(set.requests()));

  const items = new Map();
  for (const { component, items: resolvedItems } of resolved) {
    for (const { item, default: literal, parts: [{ tag, val }, ...more] } of resolvedItems) {
      assert.deepEqual([tag, more], ['secret', []]);
      const { name, request } = components[component].items[item];
      assert.equal(answers[val].request, request);
      items.set(name, { ...answers[val].secret, literal });
    }
  }
  assert.deepEqual([...items.keys()].sort(), Object.keys({ ...FOUND, ...FAILED }).sort());
  for (const [item, key] of Object.entries(FOUND)) {
    const { tag, val } = items.get(item);
    assert.equal(tag, 'ok', item);
    assert.equal(val, store.secrets.get(key), `${item} is the host's own object`);
  }
  for (const [item, failure] of Object.entries(FAILED)) {
    const { tag, val } = items.get(item);
    assert.deepEqual([tag, val.tag, val.val], ['err', failure, PAYLOADS[failure]], item);
  }
  assert.equal(items.get('first').literal, undefined);
  assert.equal(items.get('second').literal, 'fallback');
}

async function noValueIsInTheMemoryOfTheGuest(documents) {
  const store = new EveryAnswer();
  const { set, memories } = await load(documents, (requests) => store.getMany(requests));
  set.resolve(Uint32Array.of(0, 1));
  assert.equal(Secret.reveal(store.secrets.get('key')), VALUE);

  assert.equal(memories.length, 1);
  const memory = Buffer.from(memories[0].buffer);
  assert(memory.includes('every-answer'), 'the guest has read the documents');
  assert(!memory.includes(VALUE), 'the guest holds no value');
}

async function anErrorOfTheStoreComesThrough(documents) {
  const { set } = await load(documents, () => {
    throw new Error('the store is broken');
  });
  assert.throws(() => set.resolve(Uint32Array.of(0)), /the store is broken/);
}

/** Answers with the failure that a secret is named for. */
class EveryAnswer {
  calls = [];
  secrets = new Map();

  getMany(requests) {
    this.calls.push(requests);
    return requests.map(({ source }) => this.get(source));
  }

  get({ tag, val }) {
    if (tag === 'environment') return { tag: 'err', val: { tag: 'denied' } };
    if (val.name !== 'found') {
      return { tag: 'err', val: { tag: val.name, val: PAYLOADS[val.name] } };
    }
    const secret = new Secret(VALUE);
    this.secrets.set(val.key, secret);
    return { tag: 'ok', val: secret };
  }
}

/** A set of the documents in a new instance, and the memories of that. */
async function load(documents, getMany) {
  const memories = [];
  const instantiateCore = async (module, imports) => {
    const instance = await WebAssembly.instantiate(module, imports);
    const exports = Object.values(instance.exports);
    memories.push(...exports.filter((item) => item instanceof WebAssembly.Memory));
    return instance;
  };
  const imports = { 'keyref:secrets/secret-store': { Secret, getMany } };
  const { resolver } = await instantiate(undefined, imports, instantiateCore);
  return { set: new resolver.DocumentSet(documents), memories };
}

await main(process.argv[2]);
