// The API key, which this tab alone keeps, until it is closed.

const NAME = "potassium-api-key";

class Key {
  #value = $state(sessionStorage.getItem(NAME) ?? "");

  get value(): string {
    return this.#value;
  }

  set value(value: string) {
    this.#value = value;
    if (value) sessionStorage.setItem(NAME, value);
    else sessionStorage.removeItem(NAME);
  }
}

export const key = new Key();
