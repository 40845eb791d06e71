// Reads the command line, and prints what a manifest came to in the form of `keyref resolve`.

import { basename } from 'node:path';
import { parseArgs } from 'node:util';

/** The manifest's path, and whether to show values. */
export function commandLine() {
  try {
    const { values, positionals } = parseArgs({
      options: { reveal: { type: 'boolean', default: false } },
      allowPositionals: true,
    });
    if (positionals.length === 1) return { path: positionals[0], reveal: values.reveal };
  } catch {
    // An unknown option: the usage says which there are.
  }
  console.error(`usage: node ${basename(process.argv[1])} [--reveal] MANIFEST`);
  return process.exit(2);
}

/**
 * Prints components to standard output and problems to standard error, and tells whether there was
 * no error. A component that lacks a value is not printed. `show` gives the text for a secret.
 */
export function report(path, set, outcome, show) {
  const components = set.components();
  const requests = set.requests();
  const problems = set.problems();
  const texts = [];
  for (const { component: index, items } of outcome.components) {
    const component = components[index];
    const failures = items.flatMap((item) => failuresOf(item, component, outcome));
    problems.push(...failures);
    if (failures.length === 0) texts.push(textOf(component, items, requests, outcome, show));
  }

  process.stdout.write(texts.join('\n'));
  for (const { position, severity, message, hint } of problems) {
    const place = `${path}:${position.line}:${position.column}`;
    console.error(`${place}: ${severity}: ${printable(message)}`);
    if (hint) console.error(`  hint: ${printable(hint)}`);
  }
  return problems.every(({ severity }) => severity !== 'error');
}

function failuresOf({ item, parts }, component, outcome) {
  const { name, position } = component.items[item];
  return answersOf(parts, outcome)
    .filter(({ secret }) => secret.tag === 'err')
    .map(({ secret }) => ({
      severity: 'error',
      position,
      message: `no value for \`${name}\` of \`${component.name}\`: ${reason(secret.val)}`,
    }));
}

function answersOf(parts, { answers }) {
  return parts.filter(({ tag }) => tag === 'secret').map(({ val }) => answers[val]);
}

function reason({ tag, val }) {
  if (val === undefined) return tag;
  return tag === 'key-not-found' ? `${tag}, but there are: ${val.join(', ')}` : `${tag}: ${val}`;
}

function textOf(component, items, requests, outcome, show) {
  const values = component.items.map(({ value }) => value ?? '');
  for (const { item, parts } of items) {
    const text = parts.map(({ tag, val }) =>
      (tag === 'literal' ? val : show(outcome.answers[val].secret.val)));
    const origins = answersOf(parts, outcome)
      .map(({ request }) => `  <- ${origin(requests[request])}`);
    values[item] = [...text, ...origins].join('');
  }
  const type = [component.componentType, component.version].filter(Boolean).join('/');
  const width = component.items.reduce((most, { name }) => Math.max(most, name.length), 0);
  return [
    `${component.name} (${type})`,
    ...component.items.map(({ name }, index) => `  ${name.padEnd(width)}  ${values[index]}`),
  ].map((line) => `${printable(line)}\n`).join('');
}

function origin({ source: { tag, val } }) {
  return tag === 'environment' ? `environment: ${val}` : `${val.store}: ${val.name}, ${val.key}`;
}

/** A document's text may hold characters that move a terminal's cursor or turn a line around. */
function printable(text) {
  return text.replace(/[\p{Cc}\p{Cf}]/gu, (character) =>
    `\\u{${character.codePointAt(0).toString(16)}}`);
}
