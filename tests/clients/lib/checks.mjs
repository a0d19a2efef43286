// Runs checks, several at a time, and closes with `N passed, N failed`. A check is a sentence and an async function that throws.
import assert from 'node:assert/strict';

export { assert };
export const BASE_URL = (process.env.BASE_URL ?? 'http://127.0.0.1:8000').replace(/\/$/, '');
// The server does not serve chatferry.v1: the page speaks Django's protocol to it.
export const IS_OLD = process.env.NATIVE === 'false';
// Nothing is expected to take as long as these: they end a check that failed, on a machine that is busy.
const LONGEST_MS = 900_000;
export const PATIENCE_MS = 180_000;

const declared = [];
let passed = 0;
let failed = 0;

// Declares a check. Those of one run share the server and the machine, so each has people and conversations of its own.
export function check(sentence, work) {
  declared.push({ sentence, work });
}

// Runs what has been declared since the last run, `atOnce` checks at a time, in the order of their declaration.
export async function runChecks(atOnce) {
  const worker = async () => {
    while (declared.length > 0) await attempt(declared.shift());
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
}

async function attempt({ sentence, work }) {
  let timer;
  const began = Date.now();
  const tooLong = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no end after ${LONGEST_MS / 1000} s`)), LONGEST_MS);
  });
  try {
    await Promise.race([work(), tooLong]);
    passed += 1;
    console.log(`ok    ${sentence} (${((Date.now() - began) / 1000).toFixed(1)} s)`);
  } catch (error) {
    failed += 1;
    const why = String(error.stack ?? error).split('\n').slice(0, 14).map((line) => `      ${line.slice(0, 200)}`);
    console.log(`FAIL  ${sentence}\n${why.join('\n')}`);
  } finally {
    clearTimeout(timer);
  }
}

// Prints the closing line and ends the process; nothing checked is a failure too.
export function finish() {
  console.log(`${passed} passed, ${failed} failed`);
  process.exit(failed === 0 && passed > 0 ? 0 : 1);
}

// Waits until `probe` returns something truthy; its last answer or error is the reason if it never does.
export async function until(what, probe, longestMs = PATIENCE_MS) {
  const end = Date.now() + longestMs;
  let last;
  while (Date.now() < end) {
    try {
      last = await probe();
      if (last) return last;
    } catch (error) {
      last = error;
    }
    await pause(25);
  }
  throw new Error(`waited ${longestMs} ms for: ${what}; last: ${last}`);
}

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// Names nobody else uses, so that runs against one server do not meet.
const run = Math.random().toString(36).slice(2, 8);
let people = 0;
export const person = (name) => `${name}-${run}-${++people}`;
