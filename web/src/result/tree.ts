// What the tree needs to know about JSON values, without reading more of them than it shows.

import type { Json } from "../api/document";
import { write } from "../api/json";

const GROUP = 100; // members shown at once; more are put into groups that open

/** Return how many members each group of `count` has; 1 if they need no groups. */
export function groupSize(count: number): number {
  let size = 1;
  while (count > size * GROUP) size *= GROUP;
  return size;
}

/** Return whether a value has at most `most` values in it, at any depth. */
export function isSmall(value: Json, most = 100): boolean {
  let seen = 0;
  const waiting: Json[] = [value];
  while (waiting.length) {
    const one = waiting.pop()!;
    seen += 1;
    if (seen > most) return false;
    if (typeof one !== "object" || one === null) continue;
    const members = Object.values(one);
    if (members.length > most) return false;
    waiting.push(...members);
  }
  return true;
}

/** Return the beginning of a value, to show while its branch is closed. */
export function preview(value: Json[] | Record<string, Json>): string {
  const isList = Array.isArray(value);
  const keys = isList ? [] : Object.keys(value);
  const count = isList ? value.length : keys.length;
  let text = "";
  for (let index = 0; index < count; index += 1) {
    if (text.length > 60) return `${text}, …`;
    const member = isList ? value[index]! : value[keys[index]!]!;
    if (isList && typeof member === "object" && member !== null) return text; // "{…}" says nothing
    const one = brief(member);
    text += `${text && ", "}${isList ? "" : `${keys[index]!.slice(0, 20)}: `}${one}`;
  }
  return text;
}

function brief(value: Json): string {
  if (Array.isArray(value)) return value.length ? "[…]" : "[]";
  if (typeof value === "object" && value !== null) return "{…}";
  if (typeof value !== "string") return write(value);
  return write(value.length > 20 ? `${value.slice(0, 20)}…` : value);
}
