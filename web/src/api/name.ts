// What a file is called that a call has returned.

import { own } from "./own";

const SUFFIXES: Record<string, string> = {
  "application/octet-stream": "bin",
  "application/vnd.apache.arrow.stream": "arrow",
  "application/x-npy": "npy",
  "audio/mpeg": "mp3",
  "image/jpeg": "jpg",
  "image/svg+xml": "svg",
  "text/plain": "txt",
};

/** Return the name in Content-Disposition (RFC 6266), or one made of the handler and the type. */
export function fileName(disposition: string | null, url: string, type: string): string {
  const given = disposition ? nameIn(disposition) : "";
  if (given) return given;
  const path = url ? new URL(url).pathname.replace(/\/$/, "") : "";
  return `${path.split("/").pop() || "result"}.${suffixOf(type)}`;
}

function nameIn(disposition: string): string {
  const coded = /filename\*\s*=\s*(?:utf-8)''([^;\s]+)/i.exec(disposition)?.[1];
  if (coded) {
    try {
      return decodeURIComponent(coded);
    } catch {
      // not what it claims to be: the plain name, if there is one
    }
  }
  const plain = /filename\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;\s]+))/i.exec(disposition);
  return plain ? (plain[1]?.replace(/\\(.)/g, "$1") ?? plain[2]!) : "";
}

export function suffixOf(type: string): string {
  const known = own(SUFFIXES, type);
  if (known) return known;
  return /^[a-z]+\/(?:x-)?([a-z0-9]{1,12})$/.exec(type)?.[1] ?? "bin";
}
