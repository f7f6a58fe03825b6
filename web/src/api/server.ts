// How the page reaches the server that it came from.

import { key } from "./key.svelte";

// The page's own files are at docs/assets/ below the app, wherever that is mounted and whatever a
// proxy has removed from the path.
const here = import.meta.url;
export const ROOT = new URL(import.meta.env.DEV ? "/" : "../../", here);

/** Return the URL of a path of the app, such as "/embed". */
export function urlOf(path: string): URL {
  return new URL(path.replace(/^\//, ""), ROOT);
}

/** Send a request to a path of the app, with the API key if there is one. */
export function request(path: string, init: RequestInit = {}): Promise<Response> {
  const headers = new Headers(init.headers);
  headers.set("X-Timing", "1"); // the server then says how long the call has waited and run
  if (key.value) headers.set("Authorization", `Bearer ${key.value}`);
  return fetch(urlOf(path), { ...init, headers, credentials: "same-origin" });
}
