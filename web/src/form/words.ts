// What a schema says, in words: "a whole number from 1 to 9".

import type { Json, Schema } from "../api/document";
import { write } from "../api/json";
import { own } from "../api/own";
import { isFile, isFree, mediaTypesOf, nameOf, resolve, withoutNull } from "./schema";

const FORMATS: Record<string, [one: string, many: string]> = {
  date: ["a date", "dates"],
  "date-time": ["a date and time", "dates and times"],
  time: ["a time of day", "times of day"],
  duration: ["a duration", "durations"],
  uuid: ["a UUID", "UUIDs"],
  email: ["an email address", "email addresses"],
  uri: ["a URL", "URLs"],
};
const FILES: Record<string, [one: string, many: string]> = {
  image: ["a picture", "pictures"],
  audio: ["an audio file", "audio files"],
  video: ["a video", "videos"],
};
const MOST_CHOICES = 6;

/** Return what a media type stands for, in words: "a picture". */
export function wordOfMedia(type: string | undefined, many = false): string {
  const [one, several] = own(FILES, type?.split("/")[0] ?? "") ?? ["a file", "files"];
  return many ? several : one;
}

/** Describe a value, with its limits. */
export function phrase(schema: Schema, root: Schema, many = false): string {
  const limits = limitsOf(resolve(withoutNull(schema).schema, root));
  const base = kindOf(schema, root, many);
  return limits ? `${base} ${limits}` : base;
}

/** Describe a value, without its limits. */
export function kindOf(schema: Schema, root: Schema, many = false, depth = 0): string {
  const bare = withoutNull(schema).schema;
  const found = resolve(bare, root);
  const say = (one: string, several: string): string => (many ? several : one);
  if (isFile(found)) return wordOfMedia(mediaTypesOf(found)[0], many);
  if (found.const !== undefined) return write(found.const as Json);
  if (Array.isArray(found.enum)) return choicesOf(found.enum);
  const branches = found.anyOf ?? found.oneOf;
  if (branches) {
    if (depth > 3) return say("one of several types", "values of several types");
    const words = branches.map((one) => kindOf(one, root, many, depth + 1));
    return joined([...new Set(words)], "or");
  }
  switch (found.type) {
    case "string":
      return say(...(own(FORMATS, found.format ?? "") ?? ["text", "strings"]));
    case "integer":
      return say("a whole number", "whole numbers");
    case "number":
      return say("a number", "numbers");
    case "boolean":
      return say("true or false", "booleans");
    case "null":
      return "nothing";
    case "array": {
      if (depth > 3) return say("a list", "lists");
      if (Array.isArray(found.prefixItems)) {
        const parts = (found.prefixItems as Schema[]).map((one) => kindOf(one, root, false, depth + 1));
        return `${say("a list of", "lists of")} ${joined(parts, "and")}`;
      }
      if (!found.items || !Object.keys(found.items).length) return say("a list", "lists");
      const items = kindOf(found.items, root, true, depth + 1);
      return `${say("a list of", "lists of")} ${items}`;
    }
    case "object":
      return objectOf(found, nameOf(bare.$ref) ?? found.title, root, many, depth);
    default:
      return "any JSON";
  }
}

function objectOf(
  found: Schema,
  name: string | undefined,
  root: Schema,
  many: boolean,
  depth: number,
): string {
  if (Object.keys(found.properties ?? {}).length) {
    if (name) return many ? `${name} objects` : `${article(name)} ${name}`;
    return many ? "objects" : "an object";
  }
  if (isFree(found) || depth > 3) return many ? "objects" : "an object";
  const values = kindOf(found.additionalProperties as Schema, root, true, depth + 1);
  return many ? `objects of ${values} keyed by name` : `${values} keyed by name`;
}

function article(name: string): string {
  return /^[aeiou]/i.test(name) ? "an" : "a";
}

function choicesOf(values: unknown[]): string {
  if (values.length > MOST_CHOICES) return `one of ${values.length} choices`;
  return joined(values.map((one) => write(one as Json)), "or");
}

/** Return the limits of a value in words: "of 1 to 200 characters". */
export function limitsOf(schema: Schema): string {
  const number = (name: string): number | undefined => schema[name] as number | undefined;
  const limits = [
    range(number("minimum"), number("maximum")),
    number("exclusiveMinimum") !== undefined && `above ${show(number("exclusiveMinimum")!)}`,
    number("exclusiveMaximum") !== undefined && `below ${show(number("exclusiveMaximum")!)}`,
    number("multipleOf") !== undefined && `in steps of ${show(number("multipleOf")!)}`,
    counted(number("minLength"), number("maxLength"), "character"),
    !schema.prefixItems && counted(number("minItems"), number("maxItems"), "item", "with"), // else each is told
    counted(number("minProperties"), number("maxProperties"), "member", "with"),
    schema.uniqueItems === true && "without duplicates",
    typeof schema.pattern === "string" && `matching ${schema.pattern}`,
  ];
  return limits.filter(Boolean).join(", ");
}

function range(least: number | undefined, most: number | undefined): string {
  if (least !== undefined && most !== undefined) return `from ${show(least)} to ${show(most)}`;
  if (least !== undefined) return `of at least ${show(least)}`;
  return most !== undefined ? `of at most ${show(most)}` : "";
}

function counted(least: number | undefined, most: number | undefined, unit: string, word = "of"): string {
  const units = (count: number): string => `${show(count)} ${unit}${count === 1 ? "" : "s"}`;
  if (least !== undefined && least === most) return `${word} ${units(least)}`;
  if (least && most !== undefined) return `${word} ${show(least)} to ${units(most)}`;
  if (least) return `${word} at least ${units(least)}`;
  return most !== undefined ? `${word} at most ${units(most)}` : "";
}

export function show(value: number | bigint): string {
  return value.toLocaleString("en", { useGrouping: value >= 10_000 || value <= -10_000 }); // 2026 is a year
}

export function joined(parts: string[], word: string): string {
  if (parts.length < 2) return parts[0] ?? "";
  return `${parts.slice(0, -1).join(", ")} ${word} ${parts.at(-1)!}`;
}

/** Return the name of a variant of a union, to choose it by. */
export function titleOf(schema: Schema, root: Schema, discriminator?: string): string {
  const found = resolve(schema, root);
  const tag = discriminator && resolve(found.properties?.[discriminator] ?? {}, root);
  const value = tag && (tag.const ?? (tag.enum as unknown[] | undefined)?.[0]);
  const name = nameOf(schema.$ref) ?? found.title ?? (value === undefined ? undefined : String(value));
  return capital(name ?? kindOf(schema, root));
}

export function capital(text: string): string {
  return text.replace(/^(?:an? )?(.)/u, (_, first: string) => first.toUpperCase());
}

