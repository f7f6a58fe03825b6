// The members of an object in the order of its model, not in the order of filling in.

import type { Json } from "../api/document";
import { own } from "../api/own";
import { type FormSchema, isObject, resolve } from "./schema";

export function ordered(value: Json, schema: FormSchema, root: FormSchema): Json {
  const whole = resolve(schema, root) as FormSchema;
  const found = whole.kind === "optional" ? (resolve(whole.inner!, root) as FormSchema) : whole;
  if (Array.isArray(value)) {
    const items = found.items as FormSchema | undefined;
    return isObject(items) ? value.map((one) => ordered(one, items, root)) : value;
  }
  if (!isObject(value)) return value;
  const properties = (found.properties ?? {}) as Record<string, FormSchema>;
  const names = Object.keys(properties).filter((name) => Object.hasOwn(value, name));
  const others = Object.keys(value).filter((name) => !Object.hasOwn(properties, name));
  const entries = [...names, ...others].map((name) => {
    const one = value[name]!;
    const property = own(properties, name);
    return [name, property && one !== undefined ? ordered(one, property, root) : one];
  });
  return Object.fromEntries(entries) as Json;
}
