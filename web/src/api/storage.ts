// What this tab remembers of the app until it is closed. If the browser forbids that, or has no room,
// it is remembered until the page is left.

import { ROOT } from "./root";

export function recall(name: string): string {
  try {
    return sessionStorage.getItem(full(name)) ?? "";
  } catch {
    return "";
  }
}

/** Remember a text; an empty one is forgotten. */
export function remember(name: string, text: string): void {
  try {
    sessionStorage.removeItem(full(name)); // or else, what is too long would leave what was there
    if (text) sessionStorage.setItem(full(name), text);
  } catch {
    // as said above
  }
}

/** Other apps of this origin have keys and jobs of their own. */
function full(name: string): string {
  return `potassium-${name} ${ROOT.pathname}`;
}
