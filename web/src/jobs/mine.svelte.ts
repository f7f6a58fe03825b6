// The ids of the jobs that were submitted in this tab.
//
// They are kept for the session of the tab, as the API key is: a job can only be seen with the key
// of its owner, and the next user of this browser must not see what others have submitted.

import { parsed } from "../api/chunks";
import type { Json } from "../api/json";
import { recall, remember } from "../api/storage";
import { forgetInput, keepInput } from "./inputs";

interface Entry {
  id: string;
  /** The path of the handler. */
  handler: string;
}

const NAME = "jobs";
const MOST = 50;

class Mine {
  #entries: Entry[] = $state.raw(stored());

  /** Return the ids of the jobs of a handler, newest first. */
  of(handler: string): string[] {
    return this.#entries.filter((one) => one.handler === handler).map((one) => one.id);
  }

  /** Add a job, with its input. */
  add(id: string, handler: string, input: Json | undefined): void {
    const others = this.#entries.filter((one) => one.id !== id);
    for (const one of others.splice(MOST - 1)) forgetInput(one.id);
    this.#keep([{ id, handler }, ...others]);
    if (input !== undefined) void keepInput(id, input, others.map((one) => one.id));
  }

  remove(id: string): void {
    forgetInput(id);
    this.#keep(this.#entries.filter((one) => one.id !== id));
  }

  #keep(entries: Entry[]): void {
    this.#entries = entries;
    remember(NAME, JSON.stringify(entries));
  }
}

function stored(): Entry[] {
  const found = parsed(recall(NAME));
  const isEntry = (one: unknown): one is Entry => {
    const { id, handler } = Object(one) as Partial<Entry>;
    return typeof id === "string" && typeof handler === "string";
  };
  return Array.isArray(found) ? (found as unknown[]).filter(isEntry).slice(0, MOST) : [];
}

export const mine = new Mine();
