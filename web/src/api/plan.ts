// How an input is sent to a handler: the one place that knows, for the call and for its snippets.

import type { Json, Operation } from "./document";
import { fileOf } from "./files.svelte";
import { write } from "./json";

export type Part = [name: string, value: string | File];

export type Body =
  | { kind: "none" }
  | { kind: "file"; file: File; type: string }
  | { kind: "text"; text: string }
  | { kind: "form"; parts: Part[] }
  | { kind: "json"; value: Json };

export interface Plan {
  method: string;
  path: string;
  query: [name: string, value: string][];
  body: Body;
  /** Beside the content type of the body. */
  headers: Record<string, string>;
  /** Whether the call becomes a background job. */
  isJob: boolean;
}

const FORM = "multipart/form-data";
const BYTES = "application/octet-stream";

/** Decide how an input is sent; in the background, if the handler can run there. */
export function planOf(operation: Operation, input: Json | undefined, inBackground: boolean): Plan {
  const { method, isBackground } = operation;
  const path = operation.path.replace(/[%\\]/g, encodeURIComponent); // both have a meaning in a URL
  const isAsked = inBackground && !isBackground;
  const headers: Record<string, string> = isAsked ? { Prefer: "respond-async" } : {};
  const plan = { method, path, headers, isJob: isAsked || isBackground };
  if (method === "GET") {
    const query = input === undefined ? [] : textsOf(input);
    return { ...plan, query, body: { kind: "none" } };
  }
  return { ...plan, query: [], body: bodyOf(operation.takes, input) };
}

function bodyOf(takes: string[], input: Json | undefined): Body {
  if (input === undefined) return { kind: "none" };
  const file = fileOf(input);
  if (file && takes.some(isRaw)) return { kind: "file", file, type: typeFor(file, takes) };
  if (takes.includes(FORM)) {
    if (file) return { kind: "form", parts: [["file", file]] };
    if (isList(input) && input.length && input.every(fileOf)) {
      return { kind: "form", parts: input.map((one) => ["files", fileOf(one)!]) };
    }
    if (fitsForm(input)) return { kind: "form", parts: partsOf(input) };
  }
  if (typeof input === "string" && takes.length && !takes.includes("application/json")) {
    return { kind: "text", text: input.toWellFormed() }; // as it is sent
  }
  return { kind: "json", value: input };
}

function isRaw(type: string): boolean {
  return !/json|form/.test(type);
}

/** Return the type to send a file as: its own if the handler takes that, otherwise plain bytes. */
function typeFor(file: File, takes: string[]): string {
  const [family] = file.type.split("/");
  const isTaken = [file.type, `${family}/*`, "*/*"].some((one) => takes.includes(one));
  return file.type && isTaken ? file.type : BYTES;
}

/**
 * Return whether a form can represent an object: it must have files at its top level only, and no
 * null or empty list.
 */
function fitsForm(input: Json): input is { [name: string]: Json } {
  if (typeof input !== "object" || input === null || isList(input)) return false;
  const values = Object.values(input);
  const isPlain = (one: Json): boolean => fileOf(one) !== undefined || !holdsFile(one);
  return (
    values.some((one) => holdsFile(one)) &&
    values.every((one) => one !== null && !(isList(one) && !one.length)) &&
    values.every((one) => isPlain(one) || (isList(one) && one.every(fileOf)))
  );
}

/** Return whether there is a file anywhere in a value. */
export function holdsFile(value: Json | undefined): boolean {
  if (fileOf(value)) return true;
  return typeof value === "object" && value !== null && Object.values(value).some(holdsFile);
}

function partsOf(input: { [name: string]: Json }): Part[] {
  return Object.entries(input).flatMap(([name, value]): Part[] => {
    const files = (isList(value) ? value : [value]).map(fileOf);
    if (files.every((one) => one !== undefined)) return files.map((one) => [name, one]);
    return textsOf({ [name]: value });
  });
}

/** Return the members of an object as text; a list of plain values is several of one name. */
function textsOf(input: Json): [string, string][] {
  return Object.entries(Object(input) as Record<string, Json>).flatMap(([name, value]) => {
    if (value === null || value === undefined) return [];
    const isPlain = isList(value) && value.every((one) => typeof one !== "object");
    const values = isPlain ? (value as Json[]) : [value];
    return values.map((one): [string, string] => [name, textOf(one)]);
  });
}

function textOf(value: Json): string {
  return typeof value === "string" ? value.toWellFormed() : write(value); // as it is sent
}

function isList(value: Json): value is Json[] {
  return Array.isArray(value);
}
