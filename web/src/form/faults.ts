// What is wrong with a value itself, in words.

import { Validator } from "@cfworker/json-schema";

import type { Json } from "../api/document";
import { own } from "../api/own";
import { isQuick } from "./patterns";
import type { FormSchema } from "./schema";
import { joined, limitsOf, show } from "./words";

const WITHIN = ["properties", "required", "items", "additionalProperties", "components", "default",
  "examples", "accept", "kind", "title", "description", "inner", "variants", "discriminator"];

/** Return what is wrong with a value itself, not with what it contains. */
export function faultsOf(schema: FormSchema, value: Json): string[] {
  const bare = Object.fromEntries(Object.entries(schema).filter(([name]) => !WITHIN.includes(name)));
  const { pattern, format } = bare;
  if (typeof pattern === "string" && typeof value === "string" && !isQuick(pattern, value)) delete bare.pattern;
  if (format === "time" || format === "duration") delete bare.format; // Python takes more
  const wrong = typeof value === "bigint" ? brokenBy(value, bare) : errorsOf(bare, value);
  const messages = wrong.map((keyword) => messageOf(keyword, bare));
  return [...new Set(messages)];
}

/** Return the keywords of a schema that a value does not meet. */
function errorsOf(schema: Record<string, unknown>, value: Json): string[] {
  try {
    const { errors } = new Validator(schema as object, "2020-12", false).validate(value);
    return errors.map(({ keyword }) => keyword);
  } catch {
    // Python's regular expressions are not all JavaScript's.
    const { pattern: _, ...rest } = schema;
    return "pattern" in schema ? errorsOf(rest, value) : [];
  }
}

/** Return the keywords that a large whole number does not meet: the validator does not know them. */
function brokenBy(value: bigint, schema: Record<string, unknown>): string[] {
  const meets: Record<string, (said: never) => boolean> = {
    type: (said: string | string[]) => [said].flat().some((one) => one === "integer" || one === "number"),
    minimum: (said: number | bigint) => value >= said, // exact, also between the two types
    maximum: (said: number | bigint) => value <= said,
    exclusiveMinimum: (said: number | bigint) => value > said,
    exclusiveMaximum: (said: number | bigint) => value < said,
    multipleOf: (said: number | bigint) => !isWhole(said) || value % BigInt(said) === 0n,
    const: (said: unknown) => said === value,
    enum: (said: unknown[]) => said.includes(value),
  };
  return Object.keys(meets).filter((name) => name in schema && !meets[name]!(schema[name] as never));
}

function isWhole(value: number | bigint): boolean {
  return typeof value === "bigint" || Number.isInteger(value);
}

const NAMES: Record<string, string> = {
  string: "text",
  integer: "a whole number",
  number: "a number",
  boolean: "true or false",
  array: "a list",
  object: "an object",
};
const FORMATS: Record<string, string> = {
  date: "a date, such as 2026-01-31",
  "date-time": "a date and time, such as 2026-01-31T12:00:00Z",
  uuid: "a UUID",
  email: "an email address",
  uri: "a URL",
};

function messageOf(keyword: string, schema: FormSchema): string {
  const at = (name: string): string => show(schema[name] as number | bigint);
  const many = (name: string, unit: string): string => {
    return `${at(name)} ${unit}${schema[name] === 1 ? "" : "s"}`;
  };
  switch (keyword) {
    case "type":
      return `Must be ${joined([schema.type].flat().flatMap((one) => own(NAMES, one!) ?? []), "or") || "something else"}`;
    case "minimum":
      return `Must be at least ${at("minimum")}`;
    case "maximum":
      return `Must be at most ${at("maximum")}`;
    case "exclusiveMinimum":
      return `Must be above ${at("exclusiveMinimum")}`;
    case "exclusiveMaximum":
      return `Must be below ${at("exclusiveMaximum")}`;
    case "multipleOf":
      return `Must be a multiple of ${at("multipleOf")}`;
    case "minLength":
      return `Must have at least ${many("minLength", "character")}`;
    case "maxLength":
      return `Must have at most ${many("maxLength", "character")}`;
    case "minItems":
      return `Must have at least ${many("minItems", "item")}`;
    case "maxItems":
      return `Must have at most ${many("maxItems", "item")}`;
    case "minProperties":
      return `Must have at least ${many("minProperties", "member")}`;
    case "maxProperties":
      return `Must have at most ${many("maxProperties", "member")}`;
    case "uniqueItems":
      return "Must not repeat an item";
    case "pattern":
      return `Must match ${String(schema.pattern)}`;
    case "enum":
    case "const":
      return "Must be one of the choices";
    case "format":
      return `Must be ${own(FORMATS, String(schema.format)) ?? `in the format ${String(schema.format)}`}`;
    default:
      return `Must be ${limitsOf(schema) || "valid"}`;
  }
}
