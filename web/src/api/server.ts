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
export async function request(path: string, init: RequestInit = {}): Promise<Response> {
  const sent = key.value;
  const response = await send(path, init, sent);
  if (wantsKey(response) && sent === key.value) key.isRefused = true;
  return response;
}

/** Return whether the server accepts an API key. */
export async function accepts(candidate: string): Promise<boolean> {
  if (!/^[\x21-\x7e]+$/.test(candidate)) return false; // it cannot be sent
  return !wantsKey(await send("/_k/status", {}, candidate));
}

function send(path: string, init: RequestInit, apiKey: string): Promise<Response> {
  const headers = new Headers(init.headers);
  headers.set("X-Timing", "1"); // the server then says how long the call has waited and run
  if (apiKey) headers.set("Authorization", `Bearer ${apiKey}`);
  return fetch(urlOf(path), { ...init, headers, credentials: "same-origin" });
}

/** Whether a response asks for a key. A handler may answer 401, too, but does not say how. */
function wantsKey(response: Response): boolean {
  const how = response.headers.get("WWW-Authenticate") ?? "";
  return response.status === 401 && /^bearer\b/i.test(how);
}
