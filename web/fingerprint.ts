// A hash of everything that the page is built from. It stands in the built page, so that a test can
// tell without Node whether that is up to date.

import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const FILES = ["fingerprint.ts", "index.html", "package-lock.json", "svelte.config.js", "vite.config.ts"];

export function fingerprint(folder: string): string {
  const sources = readdirSync(join(folder, "src"), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1));
  const hash = createHash("sha256");
  for (const name of [...FILES, ...sources].sort()) {
    hash.update(`${name}\0`).update(readFileSync(join(folder, name))).update("\0");
  }
  return hash.digest("hex");
}
