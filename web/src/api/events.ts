// Server-sent events out of a response (https://html.spec.whatwg.org/#server-sent-events).

import { fitting } from "./room";

export interface StreamEvent {
  event: string;
  data: string;
  id: string;
}

/** Yield the events of a stream as they come. */
export async function* events(body: ReadableStream<Uint8Array>): AsyncGenerator<StreamEvent> {
  let event = "message";
  let id = "";
  let data: string[] = [];
  let size = 0;
  for await (const line of lines(body)) {
    if (line === "") {
      if (data.length) yield { event, data: data.join("\n"), id };
      event = "message";
      data = [];
      size = 0;
      continue;
    }
    size = fitting(size + line.length + 1);
    const [, field, value = ""] = /^([^:]*):? ?(.*)$/s.exec(line) ?? [];
    if (field === "data") data.push(value);
    else if (field === "event") event = value;
    else if (field === "id") id = value;
  }
}

/** Yield the lines of a response as they come. Throws NoRoom if one is too long. */
export async function* lines(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const END = /\r\n|\n|\r(?!$)/;
  let rest: string[] = []; // pieces of a line whose end has not come: only what is new is looked at
  let size = 0;
  for await (const text of texts(body)) {
    const last = rest.at(-1) ?? "";
    const isTorn = last.endsWith("\r"); // an end of a line, or half of one
    const parts = (isTorn ? last + text : text).split(END);
    if (isTorn) rest.pop();
    rest.push(parts.shift()!);
    size = fitting(size + text.length);
    if (!parts.length) continue;
    yield rest.join("");
    rest = [parts.pop()!];
    size = rest[0]!.length;
    yield* parts;
  }
  const line = rest.join("");
  if (line) yield line;
}

/** Yield the text of a response, in the pieces in which it comes. */
export function texts(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  return iterated(body.pipeThrough(new TextDecoderStream() as never));
}

/** Yield what a stream has; not every browser can iterate over one itself. */
export async function* iterated<T>(stream: ReadableStream<T>): AsyncGenerator<T> {
  const reader = stream.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}
