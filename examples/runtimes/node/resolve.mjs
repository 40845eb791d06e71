// Resolves the references of a manifest with secrets from a `Map`.
//
//   node resolve.mjs [--reveal] MANIFEST

import { readFile } from 'node:fs/promises';

import { instantiate } from './guest/guest.js';
import { commandLine, report } from './report.mjs';
import { Secret, failure, keyOf } from './secret.mjs';

// Example values only: a real store reads them from where they are kept.
const secrets = new Map([
  ['kafka-credentials', new Map([
    ['username', new Secret('tasks-producer')],
    ['password', new Secret('kafka-secret-pass')],
  ])],
]);

/** Answers each request with a handle or a failure, in the order of the requests. */
function getMany(requests) {
  return requests.map(({ source }) => {
    // Policy is decided here: a document only asks.
    if (source.tag === 'environment') return failure('denied');
    const { store, name, key, namespace } = source.val;
    if (store !== 'kubernetes-secrets') return failure('store-not-found');
    if (namespace !== '' && namespace !== 'default') return failure('denied');

    const keys = secrets.get(name);
    return keys ? keyOf(keys, key) : failure('secret-not-found');
  });
}

const { path, reveal } = commandLine();
const { resolver } = await instantiate(undefined, {
  'keyref:secrets/secret-store': { Secret, getMany },
});
const set = new resolver.DocumentSet([
  { name: path, kind: 'manifest', text: await readFile(path) },
]);
const outcome = set.resolve(Uint32Array.from(set.components().keys()));

// The handles in the outcome are the objects of `secrets` themselves.
const show = (secret) => (reveal ? Secret.reveal(secret) : '***');
process.exitCode = report(path, set, outcome, show) ? 0 : 1;
