// What the server is doing, in words.

import type { Status } from "./status";
import type { Watch } from "./watch.svelte";

type Tone = "good" | "busy" | "bad" | "unknown";

const STATES: Record<Status["state"], { name: string; tone: Tone; about: string }> = {
  starting: {
    name: "Loading",
    tone: "busy",
    about: "The model is loading. Calls are refused until it is ready.",
  },
  ready: { name: "Ready", tone: "good", about: "" },
  draining: {
    name: "Stopping",
    tone: "bad",
    about: "The server is stopping. Running calls may finish; new ones are refused.",
  },
  stopped: {
    name: "Stopped",
    tone: "bad",
    about: "The server has stopped. Calls are refused until it is started again.",
  },
  failed: {
    name: "Failed",
    tone: "bad",
    about: "The server has failed. Calls are refused until it is restarted.",
  },
};

/** Return the state in one or two words, with its colour and, if it is unusual, a sentence. */
export function stateOf(watch: Watch): { name: string; tone: Tone; about: string } {
  if (watch.fault) {
    const about = `${watch.fault} Retrying…`;
    return { name: "Unreachable", tone: "bad", about };
  }
  if (!watch.status) return { name: "Unknown", tone: "unknown", about: "" };
  return STATES[watch.status.state];
}

/** Return a duration in milliseconds in a readable form. */
export function duration(milliseconds: number): string {
  if (milliseconds < 10) return `${Number(milliseconds.toFixed(2))} ms`;
  if (milliseconds < 1000) return `${Math.round(milliseconds)} ms`;
  const seconds = milliseconds / 1000;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.floor(seconds % 60)} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** Return a number with few digits. */
export function brief(value: number): string {
  return value.toLocaleString("en", { maximumSignificantDigits: value < 100 ? 2 : 3 });
}
