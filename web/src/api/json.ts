// JSON as this page reads and writes it: whole numbers keep all of their digits.
//
// JavaScript's numbers are exact up to 2^53; ids and hashes go beyond. A whole number that is larger
// is read as a bigint, if the browser tells how it was written
// (https://github.com/tc39/proposal-json-parse-with-source); in others it is a number as ever.

export type Json = null | boolean | number | bigint | string | Json[] | { [name: string]: Json };

type Reviver = (key: string, value: unknown, context?: { source?: string }) => unknown;

const parse = JSON.parse as (text: string, reviver?: Reviver) => Json;
const { rawJSON } = JSON as { rawJSON?: (text: string) => unknown };
const WHOLE = /^-?\d+$/;
const LONG = /(?:^|[[:,\s])-?\d{16,}\s*(?:$|[,\]}])/; // most texts have none, and are read faster

/** Return the value of a JSON text. Throws SyntaxError if it is none. */
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

// The libraries that make forms write JSON, too: of schemas, whose limits may be large.
Object.defineProperty(BigInt.prototype, "toJSON", {
  value(this: bigint) {
    return rawJSON ? rawJSON(String(this)) : Number(this);
  },
});

/** Return the number that a text is: a bigint if it is whole and a number cannot hold it. */
export function numberIn(text: string): number | bigint {
  const number = Number(text);
  return rawJSON && WHOLE.test(text) && !Number.isSafeInteger(number) ? BigInt(text) : number;
}

/** Copy a value, so that it may be changed. structuredClone refuses what Svelte watches. */
export function copied(value: Json): Json {
  return read(write(value));
}
