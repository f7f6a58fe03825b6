// Sends what was filled in to a handler.

import type { Json, Operation } from "./document";
import { embedded, fileOf } from "./files.svelte";
import { request } from "./server";

const FORM = "multipart/form-data";

/**
 * Call a handler; in the background, if it can be and is asked to.
 * Throws what fetch throws: the server cannot be reached, or the call is aborted.
 */
export async function call(
  operation: Operation,
  input: Json | undefined,
  signal: AbortSignal,
  inBackground = false,
): Promise<Response> {
  const { path, init } = await prepared(operation, input);
  if (operation.isBackground) return request(path, { ...init, signal });
  if (inBackground) init.headers = { ...init.headers, Prefer: "respond-async" };
  else if (operation.isStream) init.headers = { ...init.headers, Accept: "text/event-stream" };
  return request(path, { ...init, signal });
}

interface Prepared {
  path: string;
  init: { method: string; headers: Record<string, string>; body?: BodyInit };
}

async function prepared(operation: Operation, input: Json | undefined): Promise<Prepared> {
  const { method, path, takes } = operation;
  if (input === undefined) return { path, init: { method, headers: {} } };
  if (method === "GET") return { path: `${path}?${queryOf(input)}`, init: { method, headers: {} } };
  const file = fileOf(input);
  if (file) {
    const type = file.type || "application/octet-stream";
    return { path, init: { method, headers: { "Content-Type": type }, body: file } };
  }
  if (takes.includes(FORM) && hasFile(input)) {
    return { path, init: { method, headers: {}, body: await formOf(input) } };
  }
  const body = JSON.stringify(await embedded(input));
  return { path, init: { method, headers: { "Content-Type": "application/json" }, body } };
}

function hasFile(input: Json): boolean {
  return Object.values(Object(input)).flat().some((one) => fileOf(one) !== undefined);
}

function queryOf(input: Json): URLSearchParams {
  const query = new URLSearchParams();
  for (const [name, value] of fieldsOf(input)) query.append(name, textOf(value));
  return query;
}

async function formOf(input: Json): Promise<FormData> {
  const form = new FormData();
  for (const [name, value] of fieldsOf(input)) {
    const file = fileOf(value);
    if (file) form.append(name, file);
    else form.append(name, textOf(await embedded(value)));
  }
  return form;
}

/** Yield the fields of a form; a list of plain values is several fields of one name. */
function* fieldsOf(input: Json): Generator<[string, Json]> {
  for (const [name, value] of Object.entries(Object(input) as Record<string, Json>)) {
    if (Array.isArray(value) && value.every((one) => typeof one !== "object")) {
      for (const one of value) yield [name, one];
    } else if (value !== null && value !== undefined) yield [name, value];
  }
}

function textOf(value: Json): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}
