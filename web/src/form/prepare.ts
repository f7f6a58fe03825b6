// Turns the schema of an input into one that makes a good form: what is optional may be left empty,
// each variant of a union has a name, files are recognized. The input itself does not change.

import type { Operation, Schema } from "../api/document";
import { type FormSchema, isFile, isFree, mediaTypesOf, nameOf, requiredOf, resolve, withoutNull } from "./schema";
import { titleOf } from "./words";

const DEEPEST = 3; // types that are written out within one another

/** Return the schema of the form for an operation's input. */
export function prepare(operation: Operation): FormSchema {
  const root = operation.input ?? {};
  const { components, ...schema } = root;
  const raw = operation.takes.filter((one) => !/json|form/.test(one) && one !== "*/*");
  const accept = raw.filter((one) => one !== "application/octet-stream").join(",");
  const prepared = one(schema, root, "", true);
  if (prepared.kind === "file") prepared.accept = accept || undefined;
  const fromText = operation.takes.length && !operation.takes.some((type) => type.includes("json"));
  const whole = prepared.kind === "file" && fromText ? fileOrText(prepared) : prepared;
  const schemas = (components as { schemas?: Record<string, Schema> } | undefined)?.schemas ?? {};
  const models = Object.entries(schemas).map(([name, model]) => [name, one(model, root, "", true)]);
  if (whole.$ref) Object.assign(whole, one(resolve(schema, root), root, "", true));
  // The form's heading is the handler's path; a single field needs a label.
  const isGroup = !whole.kind && whole.type === "object";
  whole.title = isGroup ? "" : "Input";
  delete whole.$ref;
  return { ...whole, components: { schemas: Object.fromEntries(models) } };
}

function fileOrText(file: FormSchema): FormSchema {
  const text = { type: "string", title: "Text" };
  return { kind: "union", type: "object", variants: [{ ...file, title: "File" }, text] };
}

/**
 * Prepare one schema. References to objects stay, so that a model may contain itself. Other types
 * are written out: one that contains itself is any JSON there. `within` has the references to them.
 */
function one(schema: Schema, root: Schema, name: string, required: boolean, within: string[] = []): FormSchema {
  const { schema: bare, nullable } = withoutNull(schema);
  const { $ref } = bare;
  const { default: own, ...found } = resolve(bare, root);
  // A field goes by its own name, not by that of its model.
  const title = schema.title ?? (bare.title || (name ? capitalName(name) : found.title));
  const description = bare.description ?? found.description;
  const given = schema.default ?? bare.default ?? own;
  const beside: FormSchema = {
    ...(title !== undefined ? { title } : {}),
    ...(description !== undefined ? { description } : {}),
    ...(given !== undefined && given !== null ? { default: given } : {}),
  };
  const optional = (inner: FormSchema): FormSchema => {
    const mayLack = nullable || !required || ($ref !== undefined && requiresItself($ref, root));
    if (!mayLack || beside.default !== undefined) return { ...inner, ...beside };
    return { ...beside, kind: "optional", type: "object", inner };
  };

  if ($ref && !found.properties && (within.includes($ref) || within.length > DEEPEST)) {
    return { ...beside, kind: "json" };
  }
  const inside = $ref ? [...within, $ref] : within;
  if (isFile(found)) return fileOf(found, beside);
  if (found.const !== undefined) return { ...found, ...beside, kind: "fixed" };
  if (Array.isArray(found.enum)) return { ...found, ...beside };
  const variants = found.anyOf ?? found.oneOf;
  if (variants?.length) return optional(union(found, variants, root, name, inside));
  switch (found.type) {
    case "boolean":
      if (nullable) return { ...beside, enum: [true, false] };
      return { ...found, ...beside };
    case "string":
    case "integer":
    case "number":
      return { ...found, ...beside };
    case "array":
      if (found.prefixItems) return optional(list(found, root, name, inside));
      return { ...list(found, root, name, inside), ...beside };
    case "object":
      if (isFree(found)) return { ...found, ...beside, kind: "json" };
      if (Object.keys(found.properties ?? {}).some(isEverywhere)) return { ...beside, kind: "json" };
      if (found.properties) return optional(bare.$ref ? { $ref: bare.$ref } : members(found, root, inside));
      return { ...dict(found, root, inside), ...beside };
    default:
      return { ...found, ...beside, kind: "json" };
  }
}

/** Return whether every object has such a member in JavaScript, so that a form cannot tell it is absent. */
function isEverywhere(name: string): boolean {
  return name in Object.prototype;
}

/** Return whether a model has no end: it opens as deep as wanted, though it can never be complete. */
function requiresItself(reference: string, root: Schema): boolean {
  const found = new Set<string>();
  const waiting = [reference];
  while (waiting.length) {
    const model = resolve({ $ref: waiting.pop()! }, root);
    const required = requiredOf(model);
    for (const [name, { $ref }] of Object.entries(model.properties ?? {})) {
      if (!$ref || !required.has(name) || found.has($ref)) continue;
      if ($ref === reference) return true;
      found.add($ref);
      waiting.push($ref);
    }
  }
  return false;
}

function fileOf(found: Schema, beside: FormSchema): FormSchema {
  const accept = mediaTypesOf(found).join(",") || undefined;
  return { ...beside, kind: "file", type: "string", accept };
}

function union(found: Schema, variants: Schema[], root: Schema, name: string, within: string[]): FormSchema {
  const tag = (found.discriminator as { propertyName?: string } | undefined)?.propertyName;
  const titles = variants.map((variant) => titleOf(variant, root, tag));
  return {
    kind: "union",
    type: "object",
    ...(tag ? { discriminator: tag } : {}),
    variants: variants.map((variant, index) => {
      const title = titles[index]!;
      const same = titles.filter((other) => other === title).length > 1;
      return { ...one(variant, root, name, true, within), title: same ? `${title} ${index + 1}` : title };
    }),
  };
}

function list(found: Schema, root: Schema, name: string, within: string[]): FormSchema {
  const single = name.replace(/s$/, "");
  if (Array.isArray(found.prefixItems)) {
    const { prefixItems, ...rest } = found;
    const items = (prefixItems as Schema[]).map((item) => one(item, root, "", true, within));
    return { ...rest, items: items as unknown as Schema };
  }
  if (!found.items || !Object.keys(found.items).length) return { ...found, kind: "json" };
  const items = one(found.items, root, single, true, within);
  const { items: _, ...rest } = found;
  if (items.kind === "file") return { ...rest, kind: "files", accept: items.accept };
  const { title, ...bare } = items;
  const keepsTitle = found.items.title !== undefined || nameOf(found.items.$ref) !== undefined;
  return { ...rest, items: keepsTitle ? { ...bare, title } : bare };
}

function dict(found: Schema, root: Schema, within: string[]): FormSchema {
  const values = one(found.additionalProperties as Schema, root, "", true, within);
  return { ...found, additionalProperties: { ...values, title: "Value" } };
}

function members(found: Schema, root: Schema, within: string[] = []): FormSchema {
  const required = requiredOf(found);
  const entries = Object.entries(found.properties ?? {}).map(([name, property]) => {
    return [name, one(property, root, name, required.has(name), within)];
  });
  const { additionalProperties: _, ...rest } = found;
  return { ...rest, properties: Object.fromEntries(entries) as Record<string, FormSchema> };
}

function capitalName(name: string): string {
  const words = name.replace(/[_-]+/g, " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}
