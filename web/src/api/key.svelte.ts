// The API key, which this tab alone keeps, until it is closed.

import { recall, remember } from "./storage";

const NAME = "api-key";

class Key {
  #value = $state(stored());
  /** Whether the server has refused a request because it had no key, or a wrong one. */
  isRefused = $state(false);

  get value(): string {
    return this.#value;
  }

  set value(value: string) {
    this.#value = value;
    this.isRefused = false;
    remember(NAME, value);
  }
}

/** Return whether a header can have it. */
export function canBeSent(key: string): boolean {
  return /^[\x21-\x7e]+$/.test(key);
}

function stored(): string {
  const found = recall(NAME);
  return canBeSent(found) ? found : "";
}

export const key = new Key();
