// Requests to the server about one job.

import { parsed } from "../api/chunks";
import { problemOf } from "../api/problem";
import { request } from "../api/server";
import { type JobDocument, jobFrom } from "./document";

const PATIENCE = 30_000; // milliseconds that a response may take
const ODD = "The server sent an unexpected response.";

/** The job does not exist, or belongs to the owner of another API key. */
export class JobGone extends Error {}

export interface Delivery {
  id: string;
  url: string;
  attempts: Attempt[];
}

export interface Attempt {
  number: number;
  at: string;
  /** In seconds. */
  duration: number;
  status: number | null;
  error: string | null;
  next_at: string | null;
}

export function getJob(id: string): Promise<JobDocument> {
  return askForJob(pathOf(id));
}

export function cancelJob(id: string): Promise<JobDocument> {
  return askForJob(pathOf(id), { method: "DELETE" });
}

export function retryJob(id: string): Promise<JobDocument> {
  return askForJob(`${pathOf(id)}/retry`, { method: "POST" });
}

export async function getDeliveries(id: string): Promise<Delivery[]> {
  const found = (await jsonOf(await ask(`${pathOf(id)}/deliveries`))) as Partial<{ deliveries: Delivery[] }> | undefined;
  if (!Array.isArray(found?.deliveries)) throw new Error(ODD);
  return found.deliveries;
}

async function askForJob(path: string, init: RequestInit = {}): Promise<JobDocument> {
  const job = jobFrom(await jsonOf(await ask(path, { signal: AbortSignal.timeout(PATIENCE), ...init })));
  if (!job) throw new Error(ODD);
  return job;
}

async function jsonOf(response: Response): Promise<unknown> {
  return parsed(await response.text());
}

export function getOutput(id: string): Promise<Response> {
  return ask(`${pathOf(id)}/output`);
}

/** Return the response that streams a job's events after one; 204 if there are no more. */
export function followJob(id: string, last: string, signal: AbortSignal): Promise<Response> {
  const headers = { Accept: "text/event-stream", ...(last ? { "Last-Event-ID": last } : {}) };
  return ask(`${pathOf(id)}/events`, { headers, signal });
}

function pathOf(id: string): string {
  return `/jobs/${encodeURIComponent(id)}`;
}

/** Send a request. Throws JobGone, or an error whose message is a sentence. */
async function ask(path: string, init: RequestInit = {}): Promise<Response> {
  const response = await request(path, init);
  if (response.status === 404) throw new JobGone("The server no longer has this job.");
  if (response.ok) return response;
  const problem = problemOf(parsed(await response.text()), response.status, response.headers.get("Retry-After") ?? "");
  throw new Error(`${problem.sentence} ${problem.advice}`.trim());
}
