// What a handler of a chat streams: text, and among it the calls of tools and how the text has ended.

import { type Chunk, Chunks, isObject, parsed, textField } from "../api/chunks";
import type { Json } from "../api/document";

/** A function that the model wants to be called. */
export interface ToolCall {
  id: string;
  name: string;
  /** JSON, as far as it has come. */
  arguments: string;
}

export interface Finish {
  reason: string;
  promptTokens: number;
  completionTokens: number;
}

export class Reply extends Chunks {
  said = "";
  finish: Finish | undefined;
  #calls = new Map<number, ToolCall>();

  get calls(): ToolCall[] {
    return [...this.#calls.values()];
  }

  override add(chunk: Chunk): void {
    super.add(chunk);
    if ("blob" in chunk) return;
    const value = chunk.text.startsWith("{") ? parsed(chunk.text) : undefined;
    if (hasExactly(value, "index", "id", "name", "arguments")) this.#collect(value);
    else if (hasExactly(value, "reason", "prompt_tokens", "completion_tokens")) {
      this.finish = {
        reason: String(value.reason),
        promptTokens: Number(value.prompt_tokens),
        completionTokens: Number(value.completion_tokens),
      };
    } else this.said += textField(value) ?? chunk.text;
  }

  /** Take the first or the next piece of a call. */
  #collect(piece: Record<string, Json>): void {
    const index = Number(piece.index);
    const { id, name, arguments: given } = this.#calls.get(index) ?? { id: "", name: "", arguments: "" };
    this.#calls.set(index, {
      id: id || String(piece.id ?? ""),
      name: name + String(piece.name ?? ""),
      arguments: given + String(piece.arguments ?? ""),
    });
  }
}

function hasExactly(value: Json | undefined, ...names: string[]): value is Record<string, Json> {
  return isObject(value) && Object.keys(value).length === names.length && names.every((name) => name in value);
}
