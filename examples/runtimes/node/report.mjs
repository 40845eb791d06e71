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
    console.error(`${path}:${position.line}:${position.column}: ${severity}: ${printable(message)}`);
    if (hint) console.error(`  hint: ${printable(hint)}`);
  }
  return problems.every(({ severity }) => severity !== 'error');
}

function failuresOf({ item: index, parts }, component, { answers }) {
  const item = component.items[index];
  return parts
    .filter(({ tag, val }) => tag === 'secret' && answers[val].secret.tag === 'err')
    .map(({ val }) => ({
      severity: 'error',
      position: item.position,
      message: `no value for \`${item.name}\` of \`${component.name}\`: ${reason(answers[val].secret.val)}`,
    }));
}

function reason({ tag, val }) {
  if (val === undefined) return tag;
  return tag === 'key-not-found' ? `${tag}, but there are: ${val.join(', ')}` : `${tag}: ${val}`;
}

function textOf(component, items, requests, { answers }, show) {
  const lines = component.items.map(({ name, value }) => ({ name, value: value ?? '', origins: '' }));
  for (const { item, parts } of items) {
    const secrets = parts.filter(({ tag }) => tag === 'secret').map(({ val }) => answers[val]);
    lines[item].origins = secrets.map(({ request }) => `  <- ${origin(requests[request])}`).join('');
    lines[item].value = parts
      .map(({ tag, val }) => (tag === 'secret' ? show(answers[val].secret.val) : val))
      .join('');
  }
  const type = [component.componentType, component.version].filter(Boolean).join('/');
  const width = lines.reduce((width, { name }) => Math.max(width, name.length), 0);
  return [
    `${component.name} (${type})`,
    ...lines.map(({ name, value, origins }) => `  ${name.padEnd(width)}  ${value}${origins}`),
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
