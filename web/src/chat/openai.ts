// The call with OpenAI's own client, where the app has that API.

import { parsed, isObject } from "../api/chunks";
import type { Operation } from "../api/document";
import { request, urlOf } from "../api/server";
import { jsonOf, type Snippet } from "../snippets/call";
import { literal } from "../snippets/python";
import { modelIn } from "./input";

const PREFIX = "/v1"; // unless the app has chosen another one, which no schema says

/** Return whether a handler also answers at OpenAI's paths. */
export async function isServedAsOpenAI(operation: Operation, signal: AbortSignal): Promise<boolean> {
  const model = modelIn(operation.path);
  if (model === undefined) return false;
  try {
    const response = await request(`${PREFIX}/models`, { signal });
    const document = response.ok ? parsed(await response.text()) : undefined;
    if (!isObject(document) || !Array.isArray(document.data)) return false;
    return document.data.some((one) => isObject(one) && one.id === model);
  } catch {
    return false; // it is not known, then
  }
}

/** Write a call in Python, with the package openai. */
export function openai({ plan, hasKey }: Snippet): string {
  const fields = plan.body.kind === "json" && isObject(plan.body.value) ? plan.body.value : {};
  const given = Object.entries(fields).map(([name, value]) => `    ${name}=${literal(value, 4)},\n`);
  const key = hasKey ? 'os.environ["API_KEY"]' : '"none"';
  return `${hasKey ? "import os\n\n" : ""}from openai import OpenAI

client = OpenAI(base_url=${jsonOf(urlOf(PREFIX).href)}, api_key=${key})
stream = client.chat.completions.create(
${given.join("")}    stream=True,
)
for chunk in stream:
    print(chunk.choices[0].delta.content or "", end="", flush=True)
`;
}
