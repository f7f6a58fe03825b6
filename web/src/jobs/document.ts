// A background job, as the server shows it.

import type { Answer } from "../api/answer";
import type { Json } from "../api/document";

export interface JobDocument {
  id: string;
  handler: string;
  status: "queued" | "running" | "succeeded" | "failed" | "cancelled" | "expired";
  created_at: string;
  started_at: string | null;
  finished_at: string | null;
  attempts: number;
  progress: number | null;
  message: string | null;
  /** Its position in its handler's queue, from 1. */
  position?: number;
  output?: Json;
  output_url?: string;
  output_type?: string;
  output_size?: number;
  error?: Json;
}

export function hasEnded(job: JobDocument): boolean {
  return job.status !== "queued" && job.status !== "running";
}

const STATES = ["queued", "running", "succeeded", "failed", "cancelled", "expired"];

/** Return a job, if that is what the server sent: a handler may respond with 202, too. */
export function jobFrom(value: unknown): JobDocument | undefined {
  const job = Object(value) as Partial<JobDocument>;
  const isJob =
    typeof job.id === "string" && !/^\.*$/.test(job.id) && // which would be another path
    typeof job.created_at === "string" && typeof job.attempts === "number" && STATES.includes(String(job.status)); // prettier-ignore
  return isJob ? { ...(job as JobDocument), ...progressIn(job) } : undefined;
}

/** Return what a job, or one of its events, says about its progress. */
export function progressIn(value: unknown): Pick<JobDocument, "progress" | "message"> {
  const { progress, message } = Object(value) as Partial<JobDocument>;
  return {
    progress: typeof progress === "number" ? Math.max(0, Math.min(progress, 1)) : null,
    message: typeof message === "string" ? message : null,
  };
}

/** Return the job that a call was turned into, if it was. */
export function jobIn(answer: Answer): JobDocument | undefined {
  return answer.status === 202 ? jobFrom(answer.json) : undefined;
}

/** Return the state of a job in a few words. */
export function stateOf(job: JobDocument): string {
  const retried = job.attempts > 0 ? `, attempt ${job.attempts + 1} is next` : "";
  const again = job.attempts > 1 ? `, attempt ${job.attempts}` : "";
  switch (job.status) {
    case "queued":
      return `Queued${job.position ? `, position ${job.position}` : ""}${retried}`;
    case "running":
      return `Running${again}`;
    case "succeeded":
      return "Succeeded";
    case "failed":
      return "Failed";
    case "cancelled":
      return "Cancelled";
    case "expired":
      return "Expired before it could start";
  }
}
