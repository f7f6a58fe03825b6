// Sends a call and reads its answer, as a whole or as a stream.

import type { Answer } from "./answer";
import { type Chunk, Chunks, parsed } from "./chunks";
import { events, lines, texts } from "./events";
import { fileName } from "./name";
import { Pace } from "./pace";
import { parts } from "./parts";
import { type Problem, problemOf, problemWithout } from "./problem";
import { timingOf } from "./timing";

type Report = (answer: Answer) => void;

/**
 * Send a call and read its answer; a stream is reported repeatedly while it grows. Its chunks are
 * added to `chunks`.
 */
export async function answerTo(
  send: () => Promise<Response>,
  signal: AbortSignal,
  report: Report,
  chunks = new Chunks(),
): Promise<void> {
  const reading = new Reading(performance.now(), report, chunks);
  try {
    await reading.read(await send());
  } catch (error) {
    if (signal.aborted) reading.end({ state: "stopped" });
    else reading.end({ ok: false, state: "broken", problem: reading.problemWith(error) });
  }
}

class Reading {
  #answer: Answer;
  readonly #pace = new Pace(() => this.#tell());

  constructor(
    private readonly began: number,
    private readonly report: Report,
    private readonly chunks: Chunks,
  ) {
    this.#answer = { ok: true, status: 0, state: "streaming", requestId: "", milliseconds: 0, timing: {} };
  }

  async read(response: Response): Promise<void> {
    const { ok, status, headers } = response;
    this.#answer.ok = ok;
    this.#answer.status = status;
    this.#answer.requestId = headers.get("X-Request-Id") ?? "";
    this.#answer.timing = timingOf(headers.get("Server-Timing") ?? "");
    const contentType = headers.get("Content-Type") ?? "";
    const type = contentType.split(";")[0]!.trim().toLowerCase();
    this.#answer.name = fileName(headers.get("Content-Disposition"), response.url, type);
    if (!ok) return this.#readProblem(response);
    if (response.body && type === "text/event-stream") return this.#readEvents(response.body);
    if (response.body && type === "application/x-ndjson") {
      return this.#readChunks(textChunks(lines(response.body)));
    }
    if (response.body && type === "multipart/x-mixed-replace") {
      const boundary = /boundary="?([^";]+)/i.exec(contentType)?.[1] ?? "";
      return this.#readChunks(blobChunks(parts(response.body, boundary)));
    }
    if (type.endsWith("json")) {
      const text = await response.text();
      const json = parsed(text);
      this.end(json === undefined ? { text } : { json });
    } else if (type.startsWith("text/") || type === "") await this.#readText(response);
    else this.end({ blob: await response.blob() });
  }

  end(found: Partial<Answer>): void {
    Object.assign(this.#answer, { state: "done" }, found);
    this.#pace.now();
  }

  problemWith(error: unknown): Problem {
    return problemWithout(error, this.#answer.status !== 0);
  }

  async #readProblem(response: Response): Promise<void> {
    const text = await response.text();
    const json = parsed(text);
    const problem = problemOf(json ?? text, response.status, response.headers.get("Retry-After") ?? "");
    this.end({ problem, ...(json === undefined ? { text } : { json }) });
  }

  async #readEvents(body: ReadableStream<Uint8Array>): Promise<void> {
    for await (const event of events(body)) {
      if (event.event === "end") return this.end({ chunks: this.#chunks() });
      if (event.event === "error") {
        const document = parsed(event.data);
        const status = (document as { status?: number } | undefined)?.status ?? 0;
        const problem = problemOf(document ?? event.data, status);
        return this.end({ ok: false, problem, state: "broken", json: document });
      }
      await this.#add({ text: event.data });
    }
    throw new Error("The stream was cut off.");
  }

  async #readChunks(chunks: AsyncIterable<Chunk>): Promise<void> {
    for await (const chunk of chunks) await this.#add(chunk);
    this.end({ chunks: this.#chunks() });
  }

  /** Read a text; without Content-Length it may be a stream. */
  async #readText(response: Response): Promise<void> {
    if (!response.body || response.headers.has("Content-Length")) {
      return this.end({ text: await response.text() });
    }
    this.#answer.chunks = new Chunks({ isText: true });
    await this.#readChunks(textChunks(texts(response.body)));
  }

  #chunks(): Chunks {
    return (this.#answer.chunks ??= this.chunks);
  }

  async #add(chunk: Chunk): Promise<void> {
    this.#chunks().add(chunk);
    this.#answer.last = performance.now() - this.began;
    this.#answer.first ??= this.#answer.last;
    this.#pace.ask();
    await this.#pace.rest();
  }

  #tell(): void {
    const answer = this.#answer;
    if (answer.state !== "done" || !answer.milliseconds || !answer.chunks) {
      answer.milliseconds = performance.now() - this.began;
    }
    this.report({ ...answer });
  }
}

async function* textChunks(texts: AsyncIterable<string>): AsyncGenerator<Chunk> {
  for await (const text of texts) if (text) yield { text };
}

async function* blobChunks(blobs: AsyncIterable<Blob>): AsyncGenerator<Chunk> {
  for await (const blob of blobs) {
    const isText = /^text\/|json$/.test(blob.type.split(";")[0]!);
    yield isText ? { text: await blob.text() } : { blob };
  }
}
