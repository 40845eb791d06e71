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
const FAILURES = {
  'store-not-found': undefined,
  denied: undefined,
  'secret-not-found': undefined,
  'key-not-found': ['password', 'username'],
  throttled: undefined,
  'timed-out': undefined,
  unavailable: undefined,
  other: 'store-misconfigured',
};

async function main(folder) {
  await importsOneInterface();
  await answersCrossAsTheyAre(folder);
  await anErrorOfTheStoreComesThrough(folder);
}

async function importsOneInterface() {
  const types = await readFile(new URL('guest/guest.d.ts', import.meta.url), 'utf8');
  const [, imports] = /^export interface ImportObject \{\n([^}]*)\}/m.exec(types);
  assert.deepEqual(keys(imports), ['keyref:secrets/secret-store@0.1.0']);
  const [, exports] = /^export interface Root \{\n([^}]*)\}/m.exec(types);
  assert.deepEqual(keys(exports), ['keyref:secrets/resolver@0.1.0', 'resolver']);
}

function keys(block) {
  return block.trim().split('\n').map((line) => /^\s*'?([^']+?)'?: typeof /.exec(line)[1]);
}

async function answersCrossAsTheyAre(folder) {
  const given = new Map();
  const calls = [];
  const { set, memories } = await load(folder, (requests) => {
    calls.push(requests);
    return requests.map(({ source: { tag, val } }) => {
      if (tag === 'secret' && val.name === 'found') {
        const secret = new Secret(`${VALUE}: ${val.key}`);
        given.set(val.key, secret);
        return { tag: 'ok', val: secret };
      }
      const name = tag === 'secret' ? val.name : 'denied';
      return { tag: 'err', val: { tag: name, val: FAILURES[name] } };
    });
  });

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
  assert.deepEqual(
    set.problems().map((problem) => [problem.class, problem.severity, problem.document, problem.position]),
    [
      ['syntax', 'error', 0, { line: 54, column: 5 }],
      ['syntax', 'error', 2, { line: 1, column: 2 }],
    ],
  );

  // An index that is given twice or out of range is left out.
  const { answers, components: resolved } = set.resolve(Uint32Array.of(1, 0, 0, 7));
  assert.equal(calls.length, 1);
  assert.deepEqual(new Set(calls[0].map(JSON.stringify)), new Set(set.requests().map(JSON.stringify)));
  assert.deepEqual(resolved.map(({ component }) => component), [1, 0]);

  const outcomes = new Map();
  for (const { component, items } of resolved) {
    for (const { item, default: literal, parts } of items) {
      assert.equal(parts.length, 1);
      assert.equal(parts[0].tag, 'secret');
      const { name: itemName, request } = components[component].items[item];
      const answer = answers[parts[0].val];
      assert.equal(answer.request, request);
      outcomes.set(itemName, { answer: answer.secret, literal });
    }
  }
  for (const [item, key] of Object.entries({
    first: 'password', second: 'password', Authorization: 'header', privateKey: 'key',
  })) {
    const { answer: { tag, val } } = outcomes.get(item);
    assert.equal(tag, 'ok', item);
    assert.equal(val, given.get(key), `${item} is the host's own object`);
    assert.equal(Secret.reveal(val), `${VALUE}: ${key}`);
  }
  assert.equal(outcomes.get('first').literal, undefined);
  assert.equal(outcomes.get('second').literal, 'fallback');
  for (const [item, failure] of Object.entries({
    'no-store': 'store-not-found', refused: 'denied', 'no-secret': 'secret-not-found',
    'no-key': 'key-not-found', 'too-many': 'throttled', 'too-slow': 'timed-out',
    'no-backend': 'unavailable', anything: 'other', variable: 'denied',
  })) {
    const { answer: { tag, val } } = outcomes.get(item);
    assert.equal(tag, 'err', item);
    assert.deepEqual([val.tag, val.val], [failure, FAILURES[failure]]);
  }

  assert.equal(memories.length, 1);
  const memory = Buffer.from(memories[0].buffer);
  assert(memory.includes('every-answer'), 'the guest has read the documents');
  assert(!memory.includes(VALUE), 'the guest holds no value');
}

async function anErrorOfTheStoreComesThrough(folder) {
  const { set } = await load(folder, () => {
    throw new Error('the store is broken');
  });
  assert.throws(() => set.resolve(Uint32Array.of(0)), /the store is broken/);
}

/** A set of all documents, and the memories of the instance that holds it. */
async function load(folder, getMany) {
  const memories = [];
  const instantiateCore = async (module, imports) => {
    const instance = await WebAssembly.instantiate(module, imports);
    const exports = Object.values(instance.exports);
    memories.push(...exports.filter((item) => item instanceof WebAssembly.Memory));
    return instance;
  };
  const imports = { 'keyref:secrets/secret-store': { Secret, getMany } };
  const { resolver } = await instantiate(undefined, imports, instantiateCore);
  const set = new resolver.DocumentSet([
    { name: 'manifest', kind: 'manifest', text: await readFile(join(folder, 'contract.yaml')) },
    { name: 'policy', kind: 'configuration', text: await readFile(join(folder, 'configuration.yaml')) },
    { name: 'not UTF-8', kind: 'manifest', text: Uint8Array.of(0x61, 0xff) },
  ]);
  return { set, memories };
}

await main(process.argv[2]);
