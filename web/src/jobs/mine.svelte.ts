// The ids of the jobs that were submitted in this tab.
//
// They are kept for the session of the tab, as the API key is: a job can only be seen with the key
// of its owner, and the next user of this browser must not see what others have submitted.

import type { Json } from "../api/json";
import { ROOT } from "../api/server";
import { forgetInput, keepInput } from "./inputs";

interface Entry {
  id: string;
  /** The path of the handler. */
  handler: string;
}

const NAME = `potassium-jobs ${ROOT.pathname}`;
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
    sessionStorage.setItem(NAME, JSON.stringify(entries));
  }
}

function stored(): Entry[] {
  try {
    return JSON.parse(sessionStorage.getItem(NAME) ?? "[]") as Entry[];
  } catch {
    return [];
  }
}

export const mine = new Mine();
