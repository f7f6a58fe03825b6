// A call in JavaScript, with fetch. What it reads files with is Node's, Deno's and Bun's; without
// files, it runs in browsers, too.

import { fileOf } from "../api/files.svelte";
import type { Json } from "../api/json";
import { type Body, holdsFile } from "../api/plan";
import { holdsLarge, jsonOf, jsonParts, type Snippet, typeOf } from "./call";

export function javascript({ plan, url, hasKey, isStream, isJob }: Snippet): string {
  const { method, body } = plan;
  const headers = [...(hasKey ? [KEY] : []), ...Object.entries(plan.headers).map(headerOf)];
  if (body.kind === "json") headers.push(headerOf(["Content-Type", "application/json"]));
  else if (body.kind === "text") headers.push(headerOf(["Content-Type", "text/plain; charset=utf-8"]));
  else if (body.kind === "file") headers.push(headerOf(["Content-Type", body.type]));
  const { head, content } = contentOf(body);
  const options = [
    ...(method === "GET" ? [] : [`method: "${method}"`]),
    ...(headers.length ? [`headers: { ${headers.join(", ")} }`] : []),
    ...(content ? [`body: ${content}`] : []),
  ];
  const list = options.length ? `, {\n${options.map((one) => `  ${one},\n`).join("")}}` : "";
  const call = `const response = await fetch(${jsonOf(url)}${list});\n`;
  return `${head}${call}if (!response.ok) throw new Error(await response.text());\n${isJob ? jobOf(hasKey) : isStream ? STREAM : SHOW}`;
}

const KEY = "Authorization: `Bearer ${process.env.API_KEY}`";
const READ = `import { readFile } from "node:fs/promises";\n\n`;
const FILE = `${READ}const file = async (name, type) => new File([await readFile(name)], name, { type });\n`;
const DATA_URL = `${READ}const dataUrl = async (name, type) => \`data:\${type};base64,\${await readFile(name, "base64")}\`;\n`;
const STREAM = `const decoder = new TextDecoder();
for await (const chunk of response.body) {
  console.log(decoder.decode(chunk, { stream: true }));
}
`;
const SHOW = `const type = response.headers.get("Content-Type") ?? "";
const isText = type.startsWith("text/") || type.includes("json");
console.log(isText ? await response.text() : await response.blob());
`;

function headerOf([name, value]: [string, string]): string {
  return `${/^\w+$/.test(name) ? name : jsonOf(name)}: ${jsonOf(value)}`;
}

/** Return the body of the call, and what must stand before the call for it. */
function contentOf(body: Body): { head: string; content: string } {
  switch (body.kind) {
    case "none":
      return { head: "", content: "" };
    case "text":
      return { head: "", content: jsonOf(body.text) };
    case "file":
      return { head: READ, content: `await readFile(${jsonOf(body.file.name)})` };
    case "json": {
      const head = holdsFile(body.value) ? DATA_URL : "";
      // JavaScript would drop digits of a large number: these are sent as they are written.
      if (holdsLarge(body.value)) return { head, content: textOf(body.value) };
      return { head, content: `JSON.stringify(${literal(body.value, 2)})` };
    }
    case "form": {
      const lines = body.parts.map(([name, value]) => {
        const one = typeof value === "string" ? jsonOf(value) : `await file(${called(value)})`;
        return `form.append(${jsonOf(name)}, ${one});\n`;
      });
      return { head: `${FILE}const form = new FormData();\n${lines.join("")}`, content: "form" };
    }
  }
}

/** Ask for the job until it has ended; the server answers when it has, or after 30 s. */
function jobOf(hasKey: boolean): string {
  const key = hasKey ? `, ${KEY}` : "";
  return `const url = new URL(response.headers.get("Location"), response.url);
let job;
do {
  job = await (await fetch(url, { headers: { Prefer: "wait=30"${key} } })).json();
} while (["queued", "running"].includes(job.status));
console.log(job);
`;
}

/** Write JSON as JavaScript, with a file where there is one. */
function literal(value: Json, indent: number): string {
  const file = fileOf(value);
  if (file) return `await dataUrl(${called(file)})`;
  if (!holdsFile(value)) {
    const text = jsonOf(value, 2).replaceAll("\n", `\n${" ".repeat(indent)}`);
    return text.replace(/(?<!\\)"__proto__":/g, '["__proto__"]:'); // without brackets, it is no member
  }
  const inner = " ".repeat(indent + 2);
  const [open, close, parts] = Array.isArray(value)
    ? ["[", "]", value.map((one) => literal(one, indent + 2))]
    : ["{", "}", Object.entries(Object(value) as Record<string, Json>).map(([name, one]) => `${memberOf(name)}: ${literal(one, indent + 2)}`)];
  return `${open}\n${parts.map((one) => `${inner}${one},\n`).join("")}${" ".repeat(indent)}${close}`;
}

function memberOf(name: string): string {
  return name === "__proto__" ? '["__proto__"]' : jsonOf(name);
}

/** Write a JSON text as JavaScript, with a file where there is one. */
function textOf(value: Json): string {
  const parts = jsonParts(value);
  return parts.map((one) => (typeof one === "string" ? jsonOf(one) : `await dataUrl(${called(one)})`)).join(" + ");
}

/** Write the name and the type of a file as arguments. */
function called(file: File): string {
  return `${jsonOf(file.name)}, ${jsonOf(typeOf(file))}`;
}
