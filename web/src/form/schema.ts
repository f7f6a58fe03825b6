// Small questions about a JSON Schema (2020-12) as written by pydantic.

import type { Json, Schema } from "../api/document";
import { own } from "../api/own";

/** How the form shows a schema that is not a plain type. */
export type Kind = "file" | "files" | "fixed" | "json" | "optional" | "union";

/** A schema that was prepared for the form. */
export interface FormSchema extends Schema {
  kind?: Kind;
  /** Of a file: the media types that it may have, as for an <input>. */
  accept?: string;
  /** Of an optional value: its schema if it is present. */
  inner?: FormSchema;
  /** Of a union: its variants. */
  variants?: FormSchema[];
}

const DEEPEST = 6; // of `allOf` within `allOf`

/** Follow references, and merge their siblings and `allOf`. */
export function resolve(schema: Schema, root: Schema, depth = 0): Schema {
  if (depth > DEEPEST) return {};
  let found = schema;
  for (let steps = 0; steps < 50; steps += 1) {
    const { $ref, allOf, ...beside } = found as Schema & { allOf?: Schema[] };
    if ($ref !== undefined) found = { ...lookUp($ref, root), ...beside };
    else if (allOf?.length) found = merge([...allOf.map((one) => resolve(one, root, depth + 1)), beside]);
    else return found;
  }
  return {};
}

function lookUp(reference: string, root: Schema): Schema {
  const steps = reference.replace(/^#\//, "").split("/");
  const names = steps.map((one) => decoded(one).replace(/~1/g, "/").replace(/~0/g, "~"));
  let found: unknown = root;
  for (const name of names) found = own(found as Record<string, unknown> | undefined, name);
  return (found ?? {}) as Schema;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // a lone %
  }
}

function merge(schemas: Schema[]): Schema {
  const properties = Object.fromEntries(schemas.flatMap((one) => Object.entries(one.properties ?? {})));
  const required = schemas.flatMap((one) => (one.required as string[] | undefined) ?? []);
  const merged = Object.assign({}, ...schemas) as Schema;
  if (Object.keys(properties).length) merged.properties = properties;
  if (required.length) merged.required = [...new Set(required)];
  return merged;
}

/** Return the last part of a reference, which is the name of a model. */
export function nameOf(reference: string | undefined): string | undefined {
  return reference?.split("/").pop()?.replace(/-(Input|Output)$/, "");
}

export function isNull(schema: Schema): boolean {
  return schema.type === "null" || schema.const === null;
}

export function isFile(schema: Schema): boolean {
  return schema.contentEncoding === "base64" || schema.format === "binary";
}

/** Return the media types that a file may have; none if it may have any. */
export function mediaTypesOf(file: Schema): string[] {
  const { contentMediaType: one, "x-potassium": more } = file;
  return (more as { media_types?: string[] } | undefined)?.media_types ?? (one ? [one] : []);
}

/** Return the schema without null, if it is "something or null". */
export function withoutNull(schema: Schema): { schema: Schema; nullable: boolean } {
  const branches = schema.anyOf ?? schema.oneOf;
  if (Array.isArray(schema.type) && schema.type.includes("null")) {
    const types = schema.type.filter((one) => one !== "null");
    return { schema: { ...schema, type: types.length === 1 ? types[0] : types }, nullable: true };
  }
  if (!branches?.some(isNull)) return { schema, nullable: false };
  const rest = branches.filter((one) => !isNull(one));
  const { anyOf: _, oneOf: __, ...beside } = schema;
  if (rest.length === 1) return { schema: { ...rest[0], ...beside }, nullable: true };
  return { schema: { ...beside, [schema.anyOf ? "anyOf" : "oneOf"]: rest }, nullable: true };
}

/** Return whether an object may have any members, so that a form cannot know its fields. */
export function isFree(schema: Schema): boolean {
  const { properties, additionalProperties: more } = schema;
  if (schema.type !== "object" || Object.keys(properties ?? {}).length) return false;
  return more === undefined || more === true || (!!more && !Object.keys(more).length);
}

export function requiredOf(schema: Schema): Set<string> {
  return new Set((schema.required as string[] | undefined) ?? []);
}

export function isObject(value: unknown): value is Record<string, Json> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
