// The parts of a multipart/x-mixed-replace response, such as the pictures of a camera.

import { iterated } from "./events";
import { fitting } from "./room";

/** Yield the content of each part as it arrives. Throws NoRoom if one is too large. */
export async function* parts(
  body: ReadableStream<Uint8Array>,
  boundary: string,
): AsyncGenerator<Blob> {
  const mark = bytesOf(`--${boundary}`);
  let held = new Uint8Array();
  let wanted = 0; // bytes needed before there can be another part
  let pieces: Uint8Array[] = []; // what arrived since
  let size = 0;
  for await (const piece of iterated(body)) {
    pieces.push(piece);
    size = fitting(size + piece.length);
    if (size < wanted) continue;
    held = joined(pieces);
    pieces = [held];
    wanted = 0;
    while (held.length >= wanted) {
      const part = firstPart(held, mark);
      if (typeof part === "number") {
        wanted = part;
        break;
      }
      yield part.blob;
      held = held.slice(part.end);
      pieces = [held];
      wanted = 0;
    }
    size = held.length;
  }
}

/** Return the first part, or how many bytes must arrive before there can be one. */
function firstPart(held: Uint8Array, mark: Uint8Array): { blob: Blob; end: number } | number {
  const start = indexOf(held, mark, 0);
  const headEnd = start < 0 ? -1 : indexOf(held, bytesOf("\r\n\r\n"), start);
  if (headEnd < 0) return more(held);
  const head = new TextDecoder("latin1").decode(held.subarray(start, headEnd));
  const type = /^content-type:\s*(.+?)\s*$/im.exec(head)?.[1] ?? "application/octet-stream";
  const length = /^content-length:\s*(\d+)\s*$/im.exec(head)?.[1];
  const from = headEnd + 4;
  let end = from + Number(length ?? 0);
  if (length === undefined) {
    end = indexOf(held, joined([bytesOf("\r\n"), mark]), from); // unknown until the next part
    if (end < 0) return more(held);
  } else if (held.length < end) return end;
  return { blob: new Blob([held.slice(from, end)], { type }), end };
}

/** Look again when a good deal more has come: it takes as long as all that is held. */
function more(held: Uint8Array): number {
  return held.length + 1 + Math.floor(held.length / 16);
}

function indexOf(held: Uint8Array, sought: Uint8Array, from: number): number {
  for (let at = held.indexOf(sought[0]!, from); at >= 0; at = held.indexOf(sought[0]!, at + 1)) {
    if (sought.every((byte, offset) => held[at + offset] === byte)) return at;
  }
  return -1;
}

function joined(pieces: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(pieces.reduce((size, one) => size + one.length, 0));
  let at = 0;
  for (const one of pieces) {
    whole.set(one, at);
    at += one.length;
  }
  return whole;
}

function bytesOf(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
