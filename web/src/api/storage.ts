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

/** Remember a text, or forget an empty one. Return whether the browser did so. */
export function remember(name: string, text: string): boolean {
  try {
    sessionStorage.removeItem(full(name)); // a text that is too long must not leave the old one
    if (text) sessionStorage.setItem(full(name), text);
    return true;
  } catch {
    return false;
  }
}

/** Other apps of this origin have their own keys and jobs. */
function full(name: string): string {
  return `potassium-${name} ${ROOT.pathname}`;
}
