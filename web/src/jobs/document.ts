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
  /** In the queue of its handler, from 1. */
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

/** Return the job that a call has become, if it has. */
export function jobIn(answer: Answer): JobDocument | undefined {
  const job = answer.json as Partial<JobDocument> | null | undefined;
  const isJob = answer.status === 202 && typeof job?.id === "string" && "attempts" in job;
  return isJob ? (job as JobDocument) : undefined;
}

/** Say where a job stands, in a few words. */
export function stateOf(job: JobDocument): string {
  const retried = job.attempts > 0 ? `, attempt ${job.attempts + 1} is next` : "";
  const again = job.attempts > 1 ? `, attempt ${job.attempts}` : "";
  switch (job.status) {
    case "queued":
      return `Queued${job.position ? `, number ${job.position} in line` : ""}${retried}`;
    case "running":
      return `Running${again}`;
    case "succeeded":
      return "Succeeded";
    case "failed":
      return "Failed";
    case "cancelled":
      return "Cancelled";
    case "expired":
      return "Expired: it was not started in time";
  }
}
