// The inputs of this tab's jobs, which survive a reload.
//
// They are kept for the session of the tab, as the ids of the jobs are. Browsers limit this storage, so
// large files are not kept.

import { parsed } from "../api/chunks";
import { dataUrl, fileOf, keep } from "../api/files.svelte";
import { type Json, write } from "../api/json";
import { recall, remember } from "../api/storage";

export interface Input {
  value: Json;
  /** Whether it had files that were too large to be kept. */
  lacksFiles: boolean;
}

interface Stored {
  value: Json;
  /** The name and content of each file, by its placeholder in the value; null if it was not kept. */
  files: { [mark: string]: [name: string, dataUrl: string] | null };
}

const MOST = 3 * 2 ** 20; // characters; browsers have room for about 5 million
const known = new Map<string, Input>();
const nameOf = (id: string): string => `input ${id}`;

/** Return the input of a job, if it is known. */
export function inputOf(id: string): Input | undefined {
  const stored = known.has(id) ? undefined : parsed(recall(nameOf(id)));
  try {
    if (stored !== undefined) known.set(id, restored(stored as unknown as Stored));
  } catch {
    // It was written by something else of this origin.
  }
  return known.get(id);
}

/** Keep the input of a job; if there is no room, those of other jobs are dropped, the oldest first. */
export async function keepInput(id: string, value: Json, others: string[]): Promise<void> {
  known.set(id, { value, lacksFiles: false });
  const stored: Stored = { value, files: {} };
  const files = filesIn(value);
  const size = files.reduce((sum, [, file]) => sum + (file.size * 4) / 3, 0);
  for (const [mark, file] of files) {
    stored.files[mark] = size < MOST ? [file.name, await dataUrl(file)] : null;
  }
  const text = write(stored as unknown as Json);
  if (!known.has(id) || text.length > MOST) return; // the job was forgotten meanwhile
  const last = others.toReversed();
  while (!remember(nameOf(id), text)) {
    const other = last.shift();
    if (other === undefined) return; // there is no room at all
    remember(nameOf(other), "");
  }
}

export function forgetInput(id: string): void {
  known.delete(id);
  remember(nameOf(id), "");
}

function restored({ value, files }: Stored): Input {
  const marks = new Map(
    Object.entries(files).map(([mark, file]) => [mark, file ? keep(fileFrom(...file)) : undefined]),
  );
  const lacksFiles = Object.values(files).includes(null);
  return { value: replaced(value, marks) ?? null, lacksFiles };
}

/** Return a value with new placeholders for its files, without those that are gone. */
function replaced(value: Json, marks: Map<string, string | undefined>): Json | undefined {
  if (typeof value === "string") return marks.has(value) ? marks.get(value) : value;
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) {
    return value.map((one) => replaced(one, marks)).filter((one) => one !== undefined);
  }
  const members = Object.entries(value).map(([name, one]) => [name, replaced(one, marks)]);
  return Object.fromEntries(members.filter(([, one]) => one !== undefined)) as Json;
}

function filesIn(value: Json): [mark: string, file: File][] {
  const file = fileOf(value);
  if (file) return [[value as string, file]];
  return typeof value === "object" && value !== null ? Object.values(value).flatMap(filesIn) : [];
}

function fileFrom(name: string, url: string): File {
  const [head, content = ""] = url.split(",", 2);
  const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
  return new File([bytes], name, { type: /^data:(.*);base64$/.exec(head!)?.[1] ?? "" });
}
