// What came back from a call, ready to be shown.

import type { Json } from "./document";
import { events } from "./events";

export interface Answer {
  ok: boolean;
  status: number;
  requestId: string;
  /** From the call to the end of the answer. */
  milliseconds: number;
  /** Why the call has failed, as a sentence. */
  problem?: string;
  json?: Json;
  text?: string;
  blob?: Blob;
  /** Of a stream: how many chunks have come, and after how long the first. */
  chunks?: number;
  first?: number;
}

/** Read a response; a stream is reported each time that more of it has come. */
export async function read(
  response: Response,
  began: number,
  report: (answer: Answer) => void,
): Promise<void> {
  const type = (response.headers.get("Content-Type") ?? "").split(";")[0]!.trim();
  const base = (): Answer => ({
    ok: response.ok,
    status: response.status,
    requestId: response.headers.get("X-Request-Id") ?? "",
    milliseconds: performance.now() - began,
  });
  if (type === "text/event-stream" && response.body) {
    await readStream(response.body, base, report);
  } else if (type.endsWith("json")) {
    const json = (await response.json()) as Json;
    report({ ...base(), json, ...(response.ok ? {} : { problem: sentenceOf(json) }) });
  } else if (type.startsWith("text/") || type === "") {
    report({ ...base(), text: await response.text() });
  } else report({ ...base(), blob: await response.blob() });
}

async function readStream(
  body: ReadableStream<Uint8Array>,
  base: () => Answer,
  report: (answer: Answer) => void,
): Promise<void> {
  let text = "";
  let chunks = 0;
  let first: number | undefined;
  for await (const event of events(body)) {
    if (event.event === "error") {
      report({ ...base(), text, chunks, ok: false, problem: sentenceOf(parsed(event.data)) });
      return;
    }
    if (event.event === "end") break;
    first ??= base().milliseconds;
    chunks += 1;
    text += event.data;
    report({ ...base(), text, chunks, first });
  }
  report({ ...base(), text, chunks, first });
}

function parsed(data: string): Json {
  try {
    return JSON.parse(data) as Json;
  } catch {
    return data;
  }
}

/** Say what a problem document (RFC 9457) says, in one sentence. */
export function sentenceOf(problem: Json): string {
  if (typeof problem !== "object" || problem === null || Array.isArray(problem)) {
    return String(problem);
  }
  const { title, detail, code } = problem as Record<string, Json>;
  const text = String(detail ?? title ?? "The call has failed.");
  return code ? `${text} (${String(code)})` : text;
}
