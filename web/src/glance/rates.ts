// What the charts show, computed from the statuses of the last minutes.

import type { Counts, Status } from "./status";

export interface Sample {
  /** Seconds since 1970. */
  at: number;
  status: Status;
}

/** A value for each sample; null where it is unknown. */
export type Values = (number | null)[];

const LONGEST = 10; // seconds between two samples that count as consecutive; polling stops while the tab is hidden

/** Return how fast a count grew, per second, from each sample to the next. */
export function perSecond(samples: Sample[], count: keyof Counts): Values {
  return samples.map((sample, index) => {
    const before = samples[index - 1];
    if (!before || !follows(sample, before)) return null;
    const grown = sample.status.counts[count] - before.status.counts[count];
    return grown / (sample.at - before.at);
  });
}

/** Return whether a sample follows closely on the one before it, in the same run of the server. */
function follows(sample: Sample, before: Sample): boolean {
  const isSameRun = sample.status.started_at === before.status.started_at;
  const seconds = sample.at - before.at;
  return isSameRun && seconds > 0 && seconds < LONGEST;
}

/** Return the mean service times of a handler, in milliseconds. */
export function serviceTimes(samples: Sample[], handler: string): Values {
  return samples.map((sample) => sample.status.service_time[handler] ?? null);
}

/** Return the handlers that ran in the last minutes, the most recent first. */
export function recentHandlers(samples: Sample[]): string[] {
  const changed = new Map<string, number>();
  samples.forEach((sample, index) => {
    const before = samples[index - 1];
    for (const [handler, time] of Object.entries(sample.status.service_time)) {
      if (before && before.status.service_time[handler] !== time) changed.set(handler, index);
    }
  });
  return [...changed].sort((one, other) => other[1] - one[1]).map(([handler]) => handler);
}
