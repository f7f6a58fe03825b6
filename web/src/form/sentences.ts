// What a handler takes and returns, as sentences. Names in them are between backticks.

import type { Json, Operation, Schema } from "../api/document";
import { write } from "../api/json";
import { isFile, isObject, requiredOf, resolve, withoutNull } from "./schema";
import { joined, kindOf, limitsOf, phrase, wordOfMedia } from "./words";

const MOST = 4; // fields listed in the sentence
const MOST_ROWS = 500; // the paths of models that contain each other are endless

export interface Row {
  name: string;
  type: string;
  limits: string;
  given: string;
  description: string;
}

export function takes(operation: Operation): string {
  const { input } = operation;
  if (input === null || input.type === "null") return "Takes no input.";
  const found = resolve(input, input);
  if (isFile(found)) return `Takes ${wordOfMedia(mediaOf(operation.takes))}.`;
  const properties = Object.entries(found.properties ?? {});
  if (!properties.length) return `Takes ${phrase(input, input)}.`;
  const required = requiredOf(found);
  if (properties.length > MOST) {
    const needed = properties.filter(([name]) => required.has(name)).map(([name]) => `\`${name}\``);
    const which = !needed.length
      ? "all optional"
      : `of which ${joined(needed, "and")} ${needed.length === 1 ? "is" : "are"} required`;
    return `Takes ${properties.length} fields, ${which}.`;
  }
  const fields = properties.map(([name, property]) => {
    const word = phrase(property, input);
    const given = defaultOf(property, input);
    if (required.has(name)) return `\`${name}\`, ${word}`;
    return `\`${name}\`, ${word} (${given ? `default: ${given}` : "optional"})`;
  });
  if (fields.length < 3) return `Takes ${fields.join(", and ")}.`;
  return `Takes ${fields.slice(0, -1).join("; ")}; and ${fields.at(-1)!}.`;
}

export function returns(operation: Operation): string {
  const { returns: types, output, isStream, isBackground } = operation;
  const verb = isBackground ? "Runs in the background and returns" : isStream ? "Streams" : "Returns";
  const [first = ""] = types;
  if (isStream) {
    if (first.startsWith("text/plain")) return `${verb} text.`;
    if (first.includes("octet-stream")) return `${verb} bytes.`;
    const items = output && resolve(output, output).items;
    return `${verb} JSON: ${items ? kindOf(items, output, true) : "a sequence of values"}.`;
  }
  const [family] = first.split("/");
  if (["image", "audio", "video"].includes(family ?? "")) {
    const forms = types.filter((one) => one.startsWith(`${family}/`)).map((one) => one.split("/")[1]!);
    return `${verb} ${wordOfMedia(first)} (${joined(forms.map((one) => one.toUpperCase()), "or")}).`;
  }
  if (types.some((one) => one.includes("x-npy"))) return `${verb} an array.`;
  if (first === "application/octet-stream") return `${verb} bytes.`;
  if (!output || types.includes("*/*")) return `${verb} a response of any type.`;
  const word = phrase(output, output);
  return word === "any JSON" ? `${verb} JSON.` : `${verb} JSON: ${word}.`;
}

/** Return the fields of an input, one per row; a recursive model is expanded once. */
export function rows(input: Schema): Row[] {
  const found: Row[] = [];
  walk(input, input, "", new Set(), found);
  return found;
}

function walk(schema: Schema, root: Schema, path: string, within: Set<string>, found: Row[]): void {
  const { schema: bare } = withoutNull(schema);
  const reference = bare.$ref ?? "";
  if (within.has(reference) || found.length >= MOST_ROWS) return;
  const inside = reference ? new Set([...within, reference]) : within;
  const own = resolve(bare, root);
  const required = requiredOf(own);
  for (const [name, property] of Object.entries(own.properties ?? {})) {
    if (found.length >= MOST_ROWS) return;
    const here = path ? `${path}.${name}` : name;
    found.push(rowOf(here, property, required.has(name), root));
    walk(property, root, here, inside, found);
  }
  for (const variant of own.anyOf ?? own.oneOf ?? []) walk(variant, root, path, inside, found);
  if (own.items) walk(own.items, root, `${path}[]`, inside, found);
  const { additionalProperties: more } = own;
  if (isObject(more)) walk(more as Schema, root, path ? `${path}.*` : "*", inside, found);
}

function rowOf(path: string, property: Schema, required: boolean, root: Schema): Row {
  const own = resolve(withoutNull(property).schema, root);
  return {
    name: path,
    type: kindOf(property, root),
    limits: limitsOf(own),
    given: required ? "required" : (defaultOf(property, root) ?? "optional"),
    description: property.description ?? (own.properties ? "" : (own.description ?? "")),
  };
}

function defaultOf(property: Schema, root: Schema): string | undefined {
  const given = resolve(property, root).default;
  if (given === undefined || given === null) return undefined;
  if (typeof given === "object" && !Object.keys(given).length) return undefined;
  if (typeof given === "boolean") return String(given);
  return typeof given === "string" && !given ? undefined : write(given as Json);
}

function mediaOf(types: string[]): string | undefined {
  return types.find((one) => /^(image|audio|video)\//.test(one));
}

