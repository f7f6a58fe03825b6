// JSON as this page reads and writes it: integers keep all of their digits.
//
// JavaScript's numbers are exact up to 2^53, which ids and hashes exceed. A larger integer is read as a
// bigint if the browser gives access to its source text
// (https://github.com/tc39/proposal-json-parse-with-source); in other browsers it stays a number.

export type Json = null | boolean | number | bigint | string | Json[] | { [name: string]: Json };

type Reviver = (key: string, value: unknown, context?: { source?: string }) => unknown;

const parse = JSON.parse as (text: string, reviver?: Reviver) => Json;
const { rawJSON } = JSON as { rawJSON?: (text: string) => unknown };
const WHOLE = /^-?\d+$/;
const LONG = /(?:^|[[:,\s])-?\d{16,}\s*(?:$|[,\]}])/; // most texts have none, and are read faster

/** Return the value of a JSON text. Throws SyntaxError if it is malformed. */
export function read(text: string): Json {
  if (!rawJSON || !LONG.test(text)) return parse(text);
  return parse(text, (_, value, context) => {
    return typeof value === "number" ? numberIn(context?.source ?? String(value)) : value;
  });
}

/** Return a value as JSON text. */
export function write(value: Json, indent?: number): string {
  return JSON.stringify(value, null, indent);
}

// The form libraries also write JSON, of schemas whose limits may be large.
Object.defineProperty(BigInt.prototype, "toJSON", {
  value(this: bigint) {
    return rawJSON ? rawJSON(String(this)) : Number(this);
  },
});

/** Return the number that a text stands for: a bigint if it is an integer that a number cannot hold. */
export function numberIn(text: string): number | bigint {
  const number = Number(text);
  return rawJSON && WHOLE.test(text) && !Number.isSafeInteger(number) ? BigInt(text) : number;
}

/** Copy what Svelte watches. $state.snapshot would lose a member called "__proto__". */
export function plain(value: Json | undefined): Json | undefined {
  if (Array.isArray(value)) return value.map((one) => plain(one) as Json);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, plain(one) as Json]));
}

/** Copy a value, so that it may be changed. structuredClone refuses what Svelte watches. */
export function copied(value: Json): Json {
  return read(write(value));
}
