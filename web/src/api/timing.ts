// How long a call took, according to the server (https://www.w3.org/TR/server-timing/).

export interface Timing {
  /** Milliseconds that the call waited in the queue. */
  queue?: number;
  /** Milliseconds that it ran; of a stream, until its first chunk. */
  run?: number;
}

export function timingOf(header: string): Timing {
  const timing: Timing = {};
  for (const [, name, milliseconds] of header.matchAll(/(queue|run);dur=(\d+(?:\.\d+)?)/g)) {
    timing[name as keyof Timing] = Number(milliseconds);
  }
  return timing;
}

/** Return a duration in a readable form. */
export function shown(milliseconds: number): string {
  if (milliseconds < 10) return `${milliseconds.toFixed(1)} ms`;
  if (milliseconds < 1000) return `${milliseconds.toFixed(0)} ms`;
  return `${(milliseconds / 1000).toFixed(milliseconds < 10_000 ? 2 : 1)} s`;
}
