// What the page knows of the app: its handlers, read from the OpenAPI document.

import { parsed } from "./chunks";
import type { Json } from "./json";
import type { Media, OpenApi, Parameter, RawOperation, Schema } from "./openapi";
import { request } from "./server";

export type { Json } from "./json";
export type { Schema } from "./openapi";

/** One handler, with one method. */
export interface Operation {
  id: string;
  method: string;
  path: string;
  summary: string;
  description: string;
  tags: string[];
  deprecated: boolean;
  /** Whether every call is a background job. */
  isBackground: boolean;
  /** Whether a call may be a background job. */
  mayRunInBackground: boolean;
  /** Whether its result comes in chunks. */
  isStream: boolean;
  /** The schema of the input as JSON; of a GET, of its query. Null if it takes none. */
  input: Schema | null;
  /** The content types that the body may have; empty for a GET. */
  takes: string[];
  /** The content types that the result may have. */
  returns: string[];
  output: Schema | null;
  examples: Record<string, Json>;
}

export interface App {
  title: string;
  description: string;
  operations: Operation[];
}

/** The server wants another API key. */
export class KeyWanted extends Error {}

const METHODS = ["get", "post", "put", "patch"];
const SERVERS_OWN = new Set(["server", "jobs"]);

/** Fetch the document of the app and read it. Throws KeyWanted if it needs another key. */
export async function load(): Promise<App> {
  const response = await request("/openapi.json", { headers: { Accept: "application/json" } });
  if (response.status === 401) throw new KeyWanted();
  if (!response.ok) throw new Error(`The server answered ${response.status}.`);
  const document = parsed(await response.text()) as Partial<OpenApi> | null | undefined;
  if (!isObject(document?.paths) || !isObject(document?.info)) throw new Error("It is not an OpenAPI document.");
  return read(document as OpenApi);
}

function isObject(value: unknown): boolean {
  return typeof value === "object" && value !== null;
}

function read(document: OpenApi): App {
  const operations: Operation[] = [];
  for (const [path, item] of Object.entries(document.paths)) {
    for (const method of METHODS) {
      const raw = item[method];
      if (raw && !raw.tags?.some((tag) => SERVERS_OWN.has(tag))) {
        operations.push(readOperation(path, method, raw, document));
      }
    }
  }
  return {
    title: document.info.title,
    description: document.info.description ?? "",
    operations,
  };
}

function readOperation(
  path: string,
  method: string,
  raw: RawOperation,
  document: OpenApi,
): Operation {
  const content = raw.requestBody?.content ?? {};
  const media = content["application/json"] ?? Object.values(content)[0];
  const result = raw.responses["200"]?.content ?? {};
  const returns = Object.keys(result);
  const whole = (schema: Schema | undefined): Schema | null =>
    schema ? { ...schema, components: document.components } : null;
  return {
    id: raw.operationId,
    method: method.toUpperCase(),
    path,
    summary: raw.summary ?? "",
    description: raw.description ?? "",
    tags: raw.tags ?? [],
    deprecated: raw.deprecated ?? false,
    isBackground: raw["x-potassium"]?.background ?? false,
    mayRunInBackground: "202" in raw.responses,
    isStream: raw["x-potassium"]?.stream ?? false,
    input: whole(method === "get" ? queryOf(raw.parameters ?? []) : media?.schema),
    takes: Object.keys(content),
    returns,
    output: whole((result["application/json"] ?? Object.values(result)[0])?.schema),
    examples: examplesOf(media),
  };
}

function queryOf(parameters: Parameter[]): Schema | undefined {
  const query = parameters.filter((one) => one.in === "query");
  if (!query.length) return undefined;
  return {
    type: "object",
    properties: Object.fromEntries(query.map((one) => [one.name, one.schema ?? {}])),
    required: query.filter((one) => one.required).map((one) => one.name),
  };
}

function examplesOf(media: Media | undefined): Record<string, Json> {
  if (media?.example !== undefined) return { example: media.example };
  const named = Object.entries(media?.examples ?? {});
  return Object.fromEntries(
    named.flatMap(([name, { value }]) => (value === undefined ? [] : [[name, value]])),
  );
}
