// What is shown, as the URL's fragment says: a handler's id, or one of the page's own views.

// The page's own names begin with a slash, which no handler's id does.
const SERVER = "/server";

export class Route {
  #name = $state(nameIn(location.hash));

  /** The id of a handler; empty for the start. */
  get handler(): string {
    return this.isServer ? "" : this.#name;
  }

  get isServer(): boolean {
    return this.#name === SERVER;
  }

  /** Whether nothing was chosen. */
  get isStart(): boolean {
    return this.#name === "";
  }

  /** Read the URL again, after it has changed. */
  update(): void {
    this.#name = nameIn(location.hash);
  }
}

export const START_LINK = "#";
export const SERVER_LINK = `#${SERVER}`;

export function linkTo(handler: string): string {
  return `#${encodeURIComponent(handler)}`;
}

function nameIn(hash: string): string {
  const name = hash.slice(1);
  try {
    return decodeURIComponent(name);
  } catch {
    return name; // it has a stray %
  }
}
