// What is wrong with an input, field by field. Only the variant that was chosen counts.

import type { Json } from "../api/document";
import { own } from "../api/own";
import { faultsOf } from "./faults";
import { type FormSchema, isObject, requiredOf, resolve } from "./schema";

export interface Fault {
  path: (string | number)[];
  message: string;
}

type Path = Fault["path"];
/** Which variants were chosen: a union within a union would be looked at ever more often. */
type Chosen = Map<FormSchema[], Map<Json, number>>;

/** Return what is wrong with a value; `required` says whether it may be absent. */
export function check(
  schema: FormSchema,
  value: Json | undefined,
  root: FormSchema,
  required = true,
  path: Path = [],
  chosen: Chosen = new Map(),
): Fault[] {
  const found = resolve(schema, root) as FormSchema;
  if (value === undefined || (value === null && found.type !== "null" && found.kind !== "json")) {
    const mayLack = !required || found.kind === "optional" || isAny(found);
    return mayLack ? [] : [{ path, message: "Required" }];
  }
  if (found.kind === "optional") return check(found.inner!, value, root, true, path, chosen);
  if (found.kind === "union") {
    const variant = found.variants![choose(found, value, root, chosen)]!;
    return check(variant, value, root, true, path, chosen);
  }
  const own = faultsOf(found, value).map((message) => ({ path, message }));
  if (own.length || found.kind === "json") return own;
  return [...own, ...below(found, value, root, path, chosen)];
}

function below(found: FormSchema, value: Json, root: FormSchema, path: Path, chosen: Chosen): Fault[] {
  if (Array.isArray(value)) {
    const items = found.items as FormSchema | FormSchema[] | undefined;
    return value.flatMap((one, index) => {
      const item = Array.isArray(items) ? items[index] : items;
      return item ? check(item, one, root, !isNullable(item), [...path, index], chosen) : [];
    });
  }
  if (!isObject(value)) return [];
  const named = found.properties ?? {};
  const names = new Set([...Object.keys(named), ...Object.keys(value)]);
  return [...names].flatMap((name) => {
    const property = (own(named, name) ?? found.additionalProperties) as FormSchema | undefined;
    if (!isObject(property)) return [];
    const required = requiredOf(found).has(name);
    return check(property, own(value, name), root, required, [...path, name], chosen);
  });
}

function isNullable(schema: FormSchema): boolean {
  return schema.kind === "optional";
}

function isAny(schema: FormSchema): boolean {
  return schema.kind === "json" && schema.type === undefined;
}

/** Return which variant of a union a value is. */
export function choose(
  schema: FormSchema,
  value: Json | undefined,
  root: FormSchema,
  chosen: Chosen = new Map(),
): number {
  const known = chosen.get(schema.variants!) ?? new Map<Json, number>();
  if (typeof value !== "object" || value === null) return chooseAnew(schema, value, root, chosen);
  const index = known.get(value) ?? chooseAnew(schema, value, root, chosen);
  chosen.set(schema.variants!, known.set(value, index));
  return index;
}

function chooseAnew(schema: FormSchema, value: Json | undefined, root: FormSchema, chosen: Chosen): number {
  const variants = schema.variants!.map((one) => resolve(one, root) as FormSchema);
  const tag = schema.discriminator as string | undefined;
  if (tag && isObject(value)) {
    const isIt = (one: FormSchema): boolean => {
      const property = resolve(own(one.properties, tag) ?? {}, root);
      const given = own(value, tag);
      return given !== undefined && (property.const === given || !!(property.enum as Json[])?.includes(given));
    };
    return Math.max(0, variants.findIndex(isIt));
  }
  const fitting = variants.filter((one) => !check(one, value, root, true, [], chosen).length);
  if (fitting.length) {
    // As pydantic does: the one that knows most of what is there.
    const unknown = (one: FormSchema): number => {
      return Object.keys(isObject(value) ? value : {}).filter((name) => !own(one.properties, name)).length;
    };
    return variants.indexOf(fitting.toSorted((one, other) => unknown(one) - unknown(other))[0]!);
  }
  return Math.max(0, variants.findIndex((one) => !faultsOf(bare(one), value ?? null).length));
}

function bare(schema: FormSchema): FormSchema {
  return { type: schema.type };
}
