// What the three snippets have in common.

import type { Json, Operation } from "../api/document";
import { fileOf } from "../api/files.svelte";
import { write } from "../api/json";
import { holdsFile, type Plan, planOf } from "../api/plan";
import { urlOf } from "../api/server";

export interface Snippet {
  plan: Plan;
  url: string;
  hasKey: boolean;
  isStream: boolean;
  /** Whether it becomes a job, of which the URL is in the answer. */
  isJob: boolean;
}

export function snippetOf(
  operation: Operation,
  input: Json | undefined,
  inBackground: boolean,
  hasKey: boolean,
): Snippet {
  const plan = planOf(operation, input, inBackground);
  const url = urlOf(plan.path);
  if (plan.query.length) url.search = String(new URLSearchParams(plan.query));
  const { isJob } = plan;
  return { plan, url: url.href, hasKey, isStream: operation.isStream && !isJob, isJob };
}

// What a terminal obeys, or what changes how other text looks: control characters, marks of direction.
export const UNSEEN = /[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

/** Write a value as JSON that shows all that is in it. A text is a literal of Python and JavaScript, too. */
export function jsonOf(value: Json, indent?: number): string {
  return write(value, indent).replace(UNSEEN, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** Yield the parts of a JSON text: what is written as it is, and the files in it. */
export function jsonParts(value: Json): (string | File)[] {
  if (!holdsFile(value)) return [jsonOf(value)];
  const files: File[] = [];
  const mark = crypto.getRandomValues(new Uint32Array(4)).join("-");
  const marked = (one: Json): Json => {
    const file = fileOf(one);
    if (file) return `${mark}${files.push(file) - 1}${mark}`;
    if (typeof one !== "object" || one === null) return one;
    if (Array.isArray(one)) return one.map(marked);
    return Object.fromEntries(Object.entries(one).map(([name, member]) => [name, marked(member)]));
  };
  const text = jsonOf(marked(value));
  return text.split(new RegExp(`${mark}(\\d+)${mark}`)).map((part, at) => (at % 2 ? files[Number(part)]! : part));
}

/** Return whether there is a number anywhere in a value that JavaScript cannot write. */
export function holdsLarge(value: Json): boolean {
  if (typeof value === "object" && value !== null) return Object.values(value).some(holdsLarge);
  return typeof value === "bigint";
}

export function typeOf(file: File): string {
  return file.type || "application/octet-stream";
}
