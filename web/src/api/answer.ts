// The answer to a call, ready to be shown.

import type { Chunks } from "./chunks";
import type { Json } from "./document";
import type { Problem } from "./problem";
import type { Timing } from "./timing";

export { sentenceOf } from "./problem";

/** `broken` means that it ended too early, and not because the user stopped it. */
export type State = "streaming" | "done" | "stopped" | "broken";

export interface Answer {
  ok: boolean;
  /** The status of the response; 0 if there is none. */
  status: number;
  state: State;
  requestId: string;
  /** From the call to the end of the answer, or until now if it has not ended. */
  milliseconds: number;
  timing: Timing;
  /** Why the call failed. */
  problem?: Problem;
  json?: Json;
  text?: string;
  blob?: Blob;
  /** The name of the answer if it is downloaded. */
  name?: string;
  /** Of a stream: the chunks so far, and when the first and the last arrived, in milliseconds. */
  chunks?: Chunks;
  first?: number;
  last?: number;
}
