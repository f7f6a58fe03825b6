// How the page reaches the server that it came from.

import { canBeSent, key } from "./key.svelte";
import { ROOT } from "./root";

/** Return the URL of a path of the app, such as "/embed"; a colon or slashes in it name no host. */
export function urlOf(path: string): URL {
  return new URL(ROOT.href + path.replace(/^\//, ""));
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
  if (!canBeSent(candidate)) return false;
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
