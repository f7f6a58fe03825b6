// The state of a call, in words.

import type { Answer } from "../api/answer";
import { shown } from "../api/timing";
import { counted } from "./number";

export function saidOf(answer: Answer | undefined, isRunning: boolean): string {
  if (isRunning) return answer ? "Receiving…" : "Running…";
  if (!answer) return "";
  const time = shown(answer.milliseconds);
  if (answer.state === "done") return answer.ok ? `Done in ${time}` : `Failed after ${time}`;
  const count = answer.chunks?.count;
  const after = count === undefined ? time : counted(count, "chunk");
  return `${answer.state === "stopped" ? "Stopped" : "Interrupted"} after ${after}`;
}
