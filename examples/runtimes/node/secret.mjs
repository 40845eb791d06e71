// A secret as a handle, and the answers to requests that both stores of these examples give.

/** A secret's value. The guest gets a number in its place and can only hand that back. */
export class Secret {
  #value;

  constructor(value) {
    this.#value = value;
  }

  // A static function is no method of the resource: only the host can call it.
  static reveal(secret) {
    return secret.#value;
  }
}

/** The answer for one key of a secret. */
export function keyOf(keys, key) {
  const secret = keys.get(key);
  if (!secret) return failure('key-not-found', [...keys.keys()].sort().slice(0, 20));
  return { tag: 'ok', val: secret };
}

/** The answer for a request that has no secret; `tag` is a case of the contract's `failure`. */
export function failure(tag, val) {
  return { tag: 'err', val: { tag, val } };
}
