// What went wrong, in words.

import type { Json } from "./document";
import { write } from "./json";
import { written } from "./path";
import { NoRoom } from "./room";

export interface Fault {
  where: string;
  what: string;
}

export interface Problem {
  /** What went wrong, as one or more sentences. */
  sentence: string;
  /** What to do about it. */
  advice: string;
  /** The stable code, meant for programs. */
  code: string;
  /** What is wrong with the input, field by field; the first of it, if there is much. */
  faults: Fault[];
}

const ADVICE: Record<number, string> = {
  401: "Enter a valid API key.",
  403: "Your API key does not allow this.",
  413: "Send a smaller input.",
  504: "Try again later, or with a smaller input.",
};

const MOST = 100; // faults; all of them are in the document, which is shown, too
const LONGEST = 500; // characters of a sentence

/** Put a problem document (RFC 9457) into words; `retryAfter` is the value of that header. */
export function problemOf(document: Json | undefined, status: number, retryAfter = ""): Problem {
  const { title, detail, code, errors } = fieldsOf(document);
  const said = detail ?? title ?? (typeof document === "string" ? document : "");
  return {
    sentence: ended(short(textOf(said)) || `The server answered with status ${status}.`),
    advice: adviceAfter(retryAfter) || (ADVICE[status] ?? ""),
    code: typeof code === "string" ? short(code) : "",
    faults: Array.isArray(errors) ? errors.slice(0, MOST).map(faultOf) : [],
  };
}

/** Say why there is no answer; `error` was thrown by fetch, or while the response was read. */
export function problemWithout(error: unknown, began: boolean): Problem {
  if (error instanceof NoRoom) {
    return { sentence: "There is more of the stream than this page can hold.", advice: "Call the handler from code.", code: "", faults: [] };
  }
  const offline = navigator.onLine ? "" : " You are offline.";
  const sentence = began
    ? "The connection was lost before the answer was complete."
    : error instanceof TypeError
      ? `The server cannot be reached, or it does not allow requests from this page.${offline}`
      : `The call could not be sent: ${String(error)}`;
  return { sentence, advice: "", code: "", faults: [] };
}

/** Return a problem document as one line of text. */
export function sentenceOf(document: Json): string {
  const { sentence, code } = problemOf(document, 0);
  return code ? `${sentence} (${code})` : sentence;
}

function faultOf(error: Json): Fault {
  const { loc, msg } = fieldsOf(error);
  const path = (Array.isArray(loc) ? loc : []) as (string | number)[];
  return { where: short(written(path)), what: ended(short(textOf(msg ?? error))) };
}

/** Say when to try again: in so many seconds, or at a time (RFC 9110, section 10.2.3). */
function adviceAfter(retryAfter: string): string {
  const isDelay = /^\d+$/.test(retryAfter);
  const seconds = isDelay ? Number(retryAfter) : Math.ceil((Date.parse(retryAfter) - Date.now()) / 1000);
  if (Number.isNaN(seconds)) return "";
  return seconds > 0 ? `Try again in ${durationOf(seconds)}.` : "Try again now.";
}

function durationOf(seconds: number): string {
  if (seconds < 120) return seconds === 1 ? "1 second" : `${seconds} seconds`;
  if (seconds > 86_400) return "more than a day";
  return `${Math.ceil(seconds / 60)} minutes`;
}

function short(text: string): string {
  return text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text;
}

function ended(text: string): string {
  return /[.!?:)…]$/.test(text) || !text ? text : `${text}.`;
}

function textOf(value: Json): string {
  return typeof value === "string" ? value : write(value);
}

function fieldsOf(value: Json | undefined): Record<string, Json> {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? value : {};
}
