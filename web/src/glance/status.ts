// What GET /_k/status says. Durations are in milliseconds.

export interface Queue {
  length: number;
  limit: number | null;
}

export interface Counts {
  admitted: number;
  refused: number;
  succeeded: number;
  failed: number;
  cancelled: number;
}

export interface Status {
  name: string;
  state: "starting" | "ready" | "draining" | "stopped" | "failed";
  queue: Queue;
  lanes: Record<string, Queue>;
  started_at: string | null;
  open_streams: number;
  stalled_streams: number;
  running: { handler: string; for: number } | null;
  counts: Counts;
  service_time: Record<string, number>;
}

const STATES = ["starting", "ready", "draining", "stopped", "failed"];

/** Return whether a response is a status: something else may respond in the server's place. */
export function isStatus(value: unknown): value is Status {
  const { state, queue, lanes, counts, service_time: times } = Object(value) as Partial<Status>;
  const areObjects = [queue, lanes, counts, times].every((one) => typeof one === "object" && one !== null);
  return STATES.includes(String(state)) && areObjects;
}

/** Return the length of a queue, with its limit if it has one. */
export function lengthOf({ length, limit }: Queue): string {
  return limit === null ? `${length}` : `${length} of ${limit}`;
}

/** Return how many calls are waiting, in all queues. */
export function waiting(status: Status): number {
  return [status.queue, ...Object.values(status.lanes)].reduce((sum, one) => sum + one.length, 0);
}
