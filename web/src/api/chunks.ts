// The chunks of a stream, and what they are together: one text, numbers, pictures or values.

import type { Json } from "./document";
import { read } from "./json";
import { fitting } from "./room";

export type Chunk = { text: string } | { blob: Blob };

/** How chunks are shown: joined to a text, as pictures that follow one another, or one by one. */
export type Kind = "text" | "frames" | "values";

const TEXT_FIELDS = ["token", "text", "delta", "content"];
const OVERHEAD = 64; // about what a chunk takes beside its characters
const PICTURE = /^"?data:(image\/[\w.+-]+;base64,[\w+/=]*)"?$/;

export class Chunks {
  count = 0;
  frames = 0;
  frame: Blob | string | undefined;
  values: Json[] = [];
  #raw = "";
  #fields = "";
  #numbers = "";
  #size = 0;
  #allNumbers: boolean;
  #allFields: boolean;
  #allObjects: boolean;

  /** `isText` is whether the chunks are pieces of one text, wherever it happens to be cut. */
  constructor({ isText = false } = {}) {
    this.#allNumbers = this.#allFields = this.#allObjects = !isText;
  }

  /** Add a chunk. Throws NoRoom if there are too many. */
  add(chunk: Chunk): void {
    this.count += 1;
    const picture = "blob" in chunk ? undefined : PICTURE.exec(chunk.text);
    if ("blob" in chunk || picture) {
      this.frame = "blob" in chunk ? chunk.blob : `data:${picture![1]!}`;
      this.frames += 1;
    } else this.#addText(chunk.text);
  }

  get kind(): Kind {
    if (this.frames === this.count && this.count) return "frames";
    return this.#allObjects && !this.#allFields ? "values" : "text";
  }

  get text(): string {
    if (this.#allFields && this.#allObjects) return this.#fields;
    return this.#allNumbers ? this.#numbers : this.#raw;
  }

  #addText(text: string): void {
    this.#size = fitting(this.#size + text.length + OVERHEAD);
    const value = parsed(text);
    const field = textField(value);
    this.#allObjects &&= typeof value === "object" && value !== null;
    this.#allFields &&= field !== undefined;
    this.#allNumbers &&= /^(number|bigint)$/.test(typeof value) && text.trim() === text;
    if (this.#allNumbers) this.#numbers += `${this.values.length ? "\n" : ""}${String(value)}`;
    this.values.push(value ?? text);
    this.#fields += field ?? "";
    this.#raw += text;
  }
}

/** Return the JSON value that a text is, or undefined if it is none. */
export function parsed(text: string): Json | undefined {
  try {
    return read(text);
  } catch {
    return undefined;
  }
}

/** Return the text of an object such as {"token": "a"}, or of a chunk as OpenAI's API sends it. */
export function textField(value: Json | undefined): string | undefined {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
  const choice = Array.isArray(value.choices) ? value.choices[0] : undefined;
  if (isObject(choice)) return isObject(choice.delta) ? String(choice.delta.content ?? "") : undefined;
  const texts = TEXT_FIELDS.filter((name) => typeof value[name] === "string");
  return texts.length === 1 ? (value[texts[0]!] as string) : undefined;
}

export function isObject(value: Json | undefined): value is Record<string, Json> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
