// The API key, which this tab alone keeps, until it is closed.

const NAME = "potassium-api-key";

class Key {
  #value = $state(sessionStorage.getItem(NAME) ?? "");
  /** Whether the server has refused a request because it had no key, or a wrong one. */
  isRefused = $state(false);

  get value(): string {
    return this.#value;
  }

  set value(value: string) {
    this.#value = value;
    this.isRefused = false;
    if (value) sessionStorage.setItem(NAME, value);
    else sessionStorage.removeItem(NAME);
  }
}

export const key = new Key();
