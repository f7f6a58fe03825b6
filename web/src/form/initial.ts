// What a form contains at first: defaults, and values without an alternative.

import type { Json } from "../api/document";
import { copied } from "../api/json";
import { type FormSchema, requiredOf, resolve } from "./schema";

const DEEPEST = 12; // a model that requires itself never ends

/** Return the initial value for a schema, or undefined if there is none. */
export function initial(schema: FormSchema, root: FormSchema, depth = 0): Json | undefined {
  const found = resolve(schema, root) as FormSchema;
  if (found.const !== undefined) return found.const as Json;
  if (found.default !== undefined) return copied(found.default as Json);
  if (depth > DEEPEST) return undefined;
  if (found.kind === "union") return initial(found.variants![0]!, root, depth + 1);
  if (found.kind) return undefined;
  switch (found.type) {
    case "boolean":
      return false;
    case "array":
      return listOf(found, root, depth);
    case "object": {
      if (!found.properties) return {};
      const entries = Object.entries(found.properties).map(([name, property]) => {
        const own = resolve(property, root);
        const isNeeded = requiredOf(found).has(name) || hasDefault(own) || own.const !== undefined;
        return [name, isNeeded ? initial(property, root, depth + 1) : undefined];
      });
      return Object.fromEntries(entries.filter(([, value]) => value !== undefined)) as Json;
    }
    default:
      return undefined;
  }
}

function hasDefault(schema: FormSchema): boolean {
  const { default: given } = schema;
  return given !== undefined && given !== null && Object.keys(Object(given)).length + +!isBranch(given) > 0;
}

function isBranch(value: unknown): boolean {
  return typeof value === "object";
}

function listOf(found: FormSchema, root: FormSchema, depth: number): Json {
  if (Array.isArray(found.items)) {
    return (found.items as FormSchema[]).map((one) => initial(one, root, depth + 1) ?? null);
  }
  const least = (found.minItems as number | undefined) ?? 0;
  const items = found.items as FormSchema | undefined;
  if (!items || found.enum || resolve(items, root).enum) return [];
  return Array.from({ length: Math.min(least, 20) }, () => initial(items, root, depth + 1) ?? null);
}
