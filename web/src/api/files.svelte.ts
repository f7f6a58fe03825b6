// The files that were chosen. In the input, a file is written "@name", as for curl.

import { SvelteMap } from "svelte/reactivity";

import type { Json } from "./document";

const chosen = new SvelteMap<string, File>();

/** Keep a file, and return its placeholder in the input. */
export function keep(file: File): string {
  let name = `@${file.name}`;
  for (let number = 2; chosen.has(name) && chosen.get(name) !== file; number += 1) {
    name = `@${number}-${file.name}`;
  }
  chosen.set(name, file);
  return name;
}

/** Return the file that a value of the input stands for, if any. */
export function fileOf(value: unknown): File | undefined {
  return typeof value === "string" ? chosen.get(value) : undefined;
}

/** Return a value with its files replaced by data URLs. */
export async function embedded(value: Json): Promise<Json> {
  const file = fileOf(value);
  if (file) return dataUrl(file);
  if (Array.isArray(value)) return Promise.all(value.map(embedded));
  if (value === null || typeof value !== "object") return value;
  const entries = Object.entries(value).map(async ([name, one]) => [name, await embedded(one)]);
  return Object.fromEntries(await Promise.all(entries)) as Json;
}

export function dataUrl(file: Blob): Promise<string> {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result as string);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
}
