// Sends the input to a handler.

import type { Json, Operation } from "./document";
import { embedded } from "./files.svelte";
import { write } from "./json";
import { type Body, planOf } from "./plan";
import { request } from "./server";

/**
 * Call a handler; with `inBackground`, as a background job.
 * Throws what fetch throws, if the server cannot be reached or the call is aborted.
 */
export async function call(
  operation: Operation,
  input: Json | undefined,
  signal: AbortSignal,
  inBackground: boolean,
): Promise<Response> {
  const plan = planOf(operation, input, inBackground);
  const { method, path, query, body, isJob } = plan;
  const { type, content } = await contentOf(body);
  const headers: Record<string, string> = { ...plan.headers };
  if (type) headers["Content-Type"] = type;
  if (operation.isStream && !isJob) headers.Accept = "text/event-stream";
  const where = query.length ? `${path}?${String(new URLSearchParams(query))}` : path;
  return request(where, { method, headers, body: content, signal });
}

async function contentOf(body: Body): Promise<{ type?: string; content?: BodyInit }> {
  switch (body.kind) {
    case "none":
      return {};
    case "file":
      return { type: body.type, content: body.file };
    case "text":
      return { type: "text/plain; charset=utf-8", content: body.text };
    case "json":
      return { type: "application/json", content: write(await embedded(body.value)) };
    case "form": {
      const content = new FormData(); // its type has a boundary, which fetch chooses
      for (const [name, value] of body.parts) content.append(name, value);
      return { content };
    }
  }
}
