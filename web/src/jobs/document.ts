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

/** Return the job that a call was turned into, if it was. */
export function jobIn(answer: Answer): JobDocument | undefined {
  const job = answer.json as Partial<JobDocument> | null | undefined;
  const isJob = answer.status === 202 && typeof job?.id === "string" && "attempts" in job;
  return isJob ? (job as JobDocument) : undefined;
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
