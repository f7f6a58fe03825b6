// Reads and writes JSON as people type it, and says where it is malformed.

import type { Json } from "../api/document";
import { read, write as writeJson } from "../api/json";

export interface Parsed {
  value?: Json;
  /** What is wrong, and where. */
  wrong?: string;
}

export function write(value: Json | undefined): string {
  return value === undefined ? "" : writeJson(value, 2);
}

/** Parse a text; an empty one has no value. */
export function parse(text: string): Parsed {
  if (!text.trim()) return {};
  try {
    return { value: read(text) };
  } catch {
    const { at, wanted } = fault(text);
    const before = text.slice(0, at).split("\n");
    const found = at >= text.length ? "the text ends" : `there is ${text.slice(at, at + 12).split("\n")[0]!}`;
    const where = `Line ${before.length}, column ${before.at(-1)!.length + 1}`;
    return { wrong: `${where}: expected ${wanted}, but ${found}` };
  }
}

class Wrong {
  constructor(
    readonly at: number,
    readonly wanted: string,
  ) {}
}

/** Return where a text is not JSON (RFC 8259): browsers disagree on how to say it, or do not. */
function fault(text: string): Wrong {
  let at = 0;
  const skip = (): void => {
    while (" \t\n\r".includes(text[at] ?? "x")) at += 1;
  };
  const take = (pattern: RegExp, wanted: string): void => {
    pattern.lastIndex = at;
    const found = pattern.exec(text);
    if (!found) throw new Wrong(at, wanted);
    at += found[0].length;
  };
  const string = (): void => {
    take(/"/y, "a name in double quotes");
    take(/(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*/y, "");
    take(/"/y, "a closing double quote");
  };
  const members = (close: string, one: () => void): void => {
    at += 1;
    skip();
    if (text[at] === close) at += 1;
    else {
      for (;;) {
        one();
        skip();
        if (text[at] === close) break;
        take(/,/y, `a comma or ${close}`);
        skip();
      }
      at += 1;
    }
  };
  const value = (): void => {
    skip();
    if (text[at] === "{") {
      members("}", () => {
        string();
        skip();
        take(/:/y, "a colon");
        value();
      });
    } else if (text[at] === "[") members("]", value);
    else if (text[at] === '"') string();
    else take(/true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y, "a value");
  };
  try {
    value();
    skip();
    return new Wrong(at, "the end of the text");
  } catch (error) {
    if (error instanceof Wrong) return error;
    return new Wrong(0, "less nesting"); // RangeError: nested too deeply
  }
}
