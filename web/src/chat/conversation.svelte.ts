// A conversation with a handler: what was said so far, and the answer that is coming.

import type { Answer } from "../api/answer";
import { call } from "../api/call";
import type { Json, Operation } from "../api/document";
import { write } from "../api/json";
import { answerTo } from "../api/reading";
import { textOf } from "../result/shape";
import type { ChatInput } from "./input";
import { Reply } from "./reply";

/** One message of the user's, and its answer. */
export interface Exchange {
  question: string;
  reply: Reply;
  /** Undefined until there is something of it. */
  answer: Answer | undefined;
}

export class Conversation {
  exchanges: Exchange[] = $state.raw([]);
  system = $state("");
  model = $state("");
  temperature: number | null = $state(null);
  limit: number | null = $state(null);
  #running: AbortController | undefined = $state.raw();

  constructor(
    private readonly operation: Operation,
    private readonly takes: ChatInput,
  ) {
    this.model = takes.model ?? "";
  }

  get isRunning(): boolean {
    return this.#running !== undefined;
  }

  get last(): Exchange | undefined {
    return this.exchanges.at(-1);
  }

  /** Say something, and wait for the answer. */
  async say(question: string): Promise<void> {
    await this.#ask(this.exchanges, question);
  }

  /** Ask for another answer in place of the last one. */
  async again(): Promise<void> {
    if (this.last) await this.#ask(this.exchanges.slice(0, -1), this.last.question);
  }

  /** End the answer that is coming; what has come of it stays. */
  stop(): void {
    this.#running?.abort();
  }

  /** Begin a new conversation, with the same settings. */
  clear(): void {
    this.stop();
    this.#running = undefined;
    this.exchanges = [];
  }

  /** Return the input of a call that says something, or that has said the last message. */
  input(question: string): Json {
    if (question || !this.last) return this.#input(this.exchanges, question || "Hello");
    return this.#input(this.exchanges.slice(0, -1), this.last.question);
  }

  async #ask(before: Exchange[], question: string): Promise<void> {
    this.stop();
    const mine = (this.#running = new AbortController());
    const reply = new Reply();
    const show = (answer?: Answer): void => {
      if (this.#running === mine) this.exchanges = [...before, { question, reply, answer }];
    };
    const input = this.#input(before, question);
    show();
    const send = () => call(this.operation, input, mine.signal, false);
    await answerTo(send, mine.signal, show, reply);
    if (this.#running === mine) this.#running = undefined;
  }

  #input(before: Exchange[], question: string): Json {
    const system = this.takes.hasSystem && this.system.trim() ? [{ role: "system", content: this.system }] : [];
    const messages = [...system, ...before.flatMap(carried), { role: "user", content: question }];
    const { takes, model, temperature, limit } = this;
    return {
      ...(takes.model !== undefined && model && { model }),
      messages,
      ...(takes.temperature && temperature !== null && { temperature }),
      ...(takes.limit && limit !== null && { [takes.limit.name]: limit }),
    };
  }
}

/** Return the messages of an exchange; none if it has no answer: a model expects them by turns. */
function carried({ question, reply, answer }: Exchange): Json[] {
  const calls = reply.calls.map(({ id, name, arguments: given }) => {
    return { id, type: "function", function: { name, arguments: given } };
  });
  const content = reply.said || (answer?.ok ? wholeText(answer) : "");
  if (!content && !calls.length) return [];
  const said = { role: "assistant", content: content || null, ...(calls.length && { tool_calls: calls }) };
  return [{ role: "user", content: question }, said];
}

/** Return the text of an answer that did not come in pieces. */
export function wholeText({ json, text }: Answer): string {
  if (json === undefined) return text ?? "";
  return textOf(json) ?? write(json);
}
