// What came back from a call, ready to be shown.

import type { Chunks } from "./chunks";
import type { Json } from "./document";
import type { Problem } from "./problem";
import type { Timing } from "./timing";

export { sentenceOf } from "./problem";

/** `broken` is what ends too early, and not because its reader has stopped it. */
export type State = "streaming" | "done" | "stopped" | "broken";

export interface Answer {
  ok: boolean;
  /** The status of the response; 0 if there is none. */
  status: number;
  state: State;
  requestId: string;
  /** From the call to the end of the answer, or until now. */
  milliseconds: number;
  timing: Timing;
  /** Why the call has failed. */
  problem?: Problem;
  json?: Json;
  text?: string;
  blob?: Blob;
  /** What a file with the answer is called. */
  name?: string;
  /** Of a stream: what has come, and after how many milliseconds the first and the last of it. */
  chunks?: Chunks;
  first?: number;
  last?: number;
}
