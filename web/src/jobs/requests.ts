// Requests to the server about one job.

import { parsed } from "../api/chunks";
import { read } from "../api/json";
import { problemOf } from "../api/problem";
import { request } from "../api/server";
import type { JobDocument } from "./document";

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

export async function getJob(id: string): Promise<JobDocument> {
  return documentIn(await ask(pathOf(id)));
}

export async function cancelJob(id: string): Promise<JobDocument> {
  return documentIn(await ask(pathOf(id), { method: "DELETE" }));
}

export async function retryJob(id: string): Promise<JobDocument> {
  return documentIn(await ask(`${pathOf(id)}/retry`, { method: "POST" }));
}

export async function getDeliveries(id: string): Promise<Delivery[]> {
  const response = await ask(`${pathOf(id)}/deliveries`);
  return ((await response.json()) as { deliveries: Delivery[] }).deliveries;
}

export function getOutput(id: string): Promise<Response> {
  return ask(`${pathOf(id)}/output`);
}

/** Return the response that streams a job's events after one; 204 if there are no more. */
export function followJob(id: string, last: string, signal: AbortSignal): Promise<Response> {
  const headers = { Accept: "text/event-stream", ...(last ? { "Last-Event-ID": last } : {}) };
  return ask(`${pathOf(id)}/events`, { headers, signal });
}

async function documentIn(response: Response): Promise<JobDocument> {
  return read(await response.text()) as unknown as JobDocument;
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
