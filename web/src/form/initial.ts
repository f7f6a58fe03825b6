// What a form contains at first: defaults, and values without an alternative.

import type { Json } from "../api/document";
import { copied } from "../api/json";
import { type FormSchema, requiredOf, resolve } from "./schema";

const DEEPEST = 12; // a model that requires itself never ends

/**
 * Return the initial value for a schema, or undefined if there is none. `within` has the unions and
 * models around it: nothing that contains itself is filled in.
 */
export function initial(schema: FormSchema, root: FormSchema, within: unknown[] = []): Json | undefined {
  const found = resolve(schema, root) as FormSchema;
  if (found.const !== undefined) return found.const as Json;
  if (found.default !== undefined) return copied(found.default as Json);
  const around = [...within, found.variants ?? schema.$ref];
  if (around.length > DEEPEST) return undefined;
  if (found.kind === "union") {
    const first = found.variants![0]!;
    const isWithin = within.includes(found.variants) || (first.$ref && within.includes(first.$ref));
    return isWithin ? undefined : initial(first, root, around);
  }
  if (found.kind) return undefined;
  switch (found.type) {
    case "boolean":
      return false;
    case "array":
      return listOf(found, root, around);
    case "object": {
      if (!found.properties) return {};
      const entries = Object.entries(found.properties).map(([name, property]) => {
        const own = resolve(property, root);
        const isNeeded = requiredOf(found).has(name) || hasDefault(own) || own.const !== undefined;
        return [name, isNeeded ? initial(property, root, around) : undefined];
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

function listOf(found: FormSchema, root: FormSchema, within: unknown[]): Json {
  if (Array.isArray(found.items)) {
    return (found.items as FormSchema[]).map((one) => initial(one, root, within) ?? null);
  }
  const least = (found.minItems as number | undefined) ?? 0;
  const items = found.items as FormSchema | undefined;
  if (!items || found.enum || resolve(items, root).enum) return [];
  if (items.$ref && within.includes(items.$ref)) return [];
  return Array.from({ length: Math.min(least, 20) }, () => initial(items, root, within) ?? null);
}
