// Which handlers get a chat: those that take messages as OpenAI's API has them, whatever they are
// called and however they were registered. A schema says that; a mark would have to be set by hand.

import type { Json, Operation, Schema } from "../api/document";
import { isObject, requiredOf, resolve, withoutNull } from "../form/schema";

/** What a handler takes beside the messages. */
export interface ChatInput {
  /** The name to ask for the model by, if it is known; undefined if it takes none. */
  model: string | undefined;
  /** Whether a message may be the system's. */
  hasSystem: boolean;
  temperature: Limits | undefined;
  /** The name of the field that limits how many tokens follow; undefined if there is none. */
  limit: (Limits & { name: string }) | undefined;
}

export interface Limits {
  minimum: number | undefined;
  maximum: number | undefined;
  /** What it is if it is left empty. */
  given: number | undefined;
}

const FILLED_IN = ["messages", "model"]; // all that a chat can know
const LIMITS = ["max_completion_tokens", "max_tokens"]; // the newer name first

/** Return what a handler takes, if that is a chat. */
export function chatInputOf(operation: Operation): ChatInput | undefined {
  const { input: root, method, takes, isBackground } = operation;
  if (!root || method !== "POST" || isBackground || !takes.includes("application/json")) return undefined;
  const schema = resolve(root, root);
  const required = requiredOf(schema);
  if (!required.has("messages") || [...required].some((name) => !FILLED_IN.includes(name))) return undefined;
  const field = (of: Schema, name: string): Schema | undefined => {
    const found = of.properties?.[name];
    return found && resolve(withoutNull(resolve(found, root)).schema, root);
  };
  const messages = field(schema, "messages")!;
  const message = messages.type === "array" && messages.items ? resolve(messages.items, root) : {};
  const role = field(message, "role");
  if (!role || !field(message, "content")) return undefined;
  const limit = LIMITS.find((name) => field(schema, name));
  return {
    model: modelOf(operation, field(schema, "model")),
    hasSystem: !Array.isArray(role.enum) || role.enum.includes("system"),
    temperature: limitsOf(field(schema, "temperature")),
    limit: limit === undefined ? undefined : { name: limit, ...limitsOf(field(schema, limit))! },
  };
}

/** Return the first name of a model that is found: in an example, the schema or the path. */
function modelOf(operation: Operation, schema: Schema | undefined): string | undefined {
  if (!schema) return undefined;
  const names = [
    ...Object.values(operation.examples).map((one) => (isObject(one) ? one.model : undefined)),
    schema.default,
    schema.const,
    Array.isArray(schema.enum) ? schema.enum[0] : undefined,
    modelIn(operation.path),
  ];
  return names.find((name): name is string => typeof name === "string" && name !== "") ?? "";
}

/** Return the name of the model in the path of a handler of OpenAI's API. */
export function modelIn(path: string): string | undefined {
  return /^\/models\/(.+)\/chat$/.exec(path)?.[1];
}

function limitsOf(schema: Schema | undefined): Limits | undefined {
  if (!schema) return undefined;
  const number = (value: unknown): number | undefined => (typeof value === "number" ? value : undefined);
  return { minimum: number(schema.minimum), maximum: number(schema.maximum), given: number(schema.default as Json) };
}
