// Follows a job: its document, and its events as they arrive.

import { parsed } from "../api/chunks";
import { events, type StreamEvent } from "../api/events";
import type { Json } from "../api/document";
import { Pace } from "../api/pace";
import { hasEnded, type JobDocument, progressIn } from "./document";
import { followJob, getJob, JobGone } from "./requests";

export interface JobEvent {
  id: string;
  kind: string;
  data: Json;
}

const SHOWN = 200; // most events kept, the newest; a job may report thousands
const FIRST_PAUSE = 500; // milliseconds before the first attempt to reconnect
const LONGEST_PAUSE = 10_000;

export class Follower {
  job: JobDocument = $state.raw()!;
  events: JobEvent[] = $state.raw([]);
  count = $state(0);
  /** The chunks of a stream of text, joined; undefined if there are none or they are not text. */
  text: string | undefined = $state.raw();
  isConnected = $state(true);
  isGone = $state(false);

  #last = "";
  #came: JobEvent[] = [];
  readonly #pace = new Pace(() => this.#settle());
  #asked = 0;
  #isText = true;

  constructor(job: JobDocument) {
    this.job = job;
  }

  /** Follow the job until it has ended, over as many connections as it takes. */
  async follow(signal: AbortSignal): Promise<void> {
    let pause = FIRST_PAUSE;
    while (!signal.aborted) {
      try {
        const response = await followJob(this.job.id, this.#last, signal);
        this.isConnected = true;
        pause = FIRST_PAUSE;
        for await (const event of response.status === 204 ? [] : events(response.body!)) {
          this.#take(event);
          await this.#pace.rest();
        }
        await this.refresh();
        if (hasEnded(this.job)) return;
      } catch (error) {
        if (error instanceof JobGone) this.isGone = true;
        if (this.isGone || signal.aborted) return;
        this.isConnected = false;
      }
      await new Promise((resolve) => setTimeout(resolve, pause));
      pause = Math.min(pause * 2, LONGEST_PAUSE);
    }
  }

  /** Fetch the job's document. Of several responses, the one to the latest request counts. */
  async refresh(): Promise<void> {
    const number = (this.#asked += 1);
    const job = await getJob(this.job.id);
    if (number === this.#asked) this.job = job;
  }

  /** Show a document that another request returned. */
  show(job: JobDocument): void {
    this.#asked += 1;
    this.job = job;
  }

  #take(event: StreamEvent): void {
    if (Number(event.id) <= Number(this.#last)) return; // from an abandoned connection
    this.#last = event.id;
    this.#came.push({ id: event.id, kind: event.event, data: parsed(event.data) ?? event.data });
    this.#pace.ask();
  }

  /** Show the events that arrived since the last time. */
  #settle(): void {
    const came = this.#came.splice(0);
    this.count += came.length;
    this.events = [...this.events, ...came].slice(-SHOWN);
    this.#join(came);
    const progress = came.findLast((one) => one.kind === "progress")?.data;
    if (progress && this.job.status === "running") {
      this.job = { ...this.job, ...progressIn(progress) };
    }
    if (came.some((one) => one.kind === "status")) void this.refresh().catch(() => undefined);
  }

  #join(came: JobEvent[]): void {
    for (const { kind, data } of came) {
      const isStart = kind === "status" && (Object(data) as { status?: Json }).status === "running";
      if (isStart) {
        this.text = undefined; // a new attempt starts over
        this.#isText = true;
      } else if (kind === "chunk") {
        this.#isText &&= typeof data === "string";
        this.text = this.#isText ? (this.text ?? "") + String(data) : undefined;
      }
    }
  }
}
