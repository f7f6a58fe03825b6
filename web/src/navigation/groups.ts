// Handlers as the menu shows them: by tag, and filtered by the search.

import type { Operation } from "../api/document";

export interface Group {
  tag: string;
  operations: Operation[];
}

/** Return the handlers by their first tag, in the app's order. */
export function grouped(operations: Operation[]): Group[] {
  const groups = new Map<string, Operation[]>();
  for (const one of operations) {
    const tag = one.tags[0] ?? "";
    groups.set(tag, [...(groups.get(tag) ?? []), one]);
  }
  return [...groups].map(([tag, members]) => ({ tag, operations: members }));
}

/** Return the handlers that contain every word of `text` in their method, path, id, summary or tags. */
export function matching(operations: Operation[], text: string): Operation[] {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  return operations.filter((one) => {
    const said = [one.method, one.path, one.id, one.summary, ...one.tags].join(" ").toLowerCase();
    return words.every((word) => said.includes(word));
  });
}
