// A call in JavaScript, with fetch.

import { fileOf } from "../api/files.svelte";
import { holdsFile } from "../api/plan";
import type { Json } from "../api/document";
import { jsonOf, type Snippet, UNSEEN } from "./call";

export function javascript({ plan, url, hasKey, isStream, isJob }: Snippet): string {
  const { method, body } = plan;
  const headers: string[] = [];
  let head = "";
  let content = "";
  if (hasKey) headers.push("Authorization: `Bearer ${API_KEY}`");
  if (body.kind === "json") {
    headers.push('"Content-Type": "application/json"');
    if (holdsFile(body.value)) head = HELPER;
    content = `JSON.stringify(${literal(body.value, 2)})`;
  } else if (body.kind === "text") {
    headers.push('"Content-Type": "text/plain; charset=utf-8"');
    content = jsonOf(body.text);
  } else if (body.kind === "file") {
    headers.push(`"Content-Type": ${jsonOf(body.type)}`);
    content = `file /* a File, such as ${comment(body.file.name)} from <input type="file"> */`;
  } else if (body.kind === "form") {
    const lines = body.parts.map(([name, value]) => {
      if (typeof value === "string") return `form.append(${jsonOf(name)}, ${jsonOf(value)});\n`;
      return `form.append(${jsonOf(name)}, file); // a File, such as ${comment(value.name)}\n`;
    });
    head = `const form = new FormData();\n${lines.join("")}`;
    content = "form";
  }
  const options = [
    ...(method === "GET" ? [] : [`method: "${method}"`]),
    ...(headers.length ? [`headers: { ${headers.join(", ")} }`] : []),
    ...(content ? [`body: ${content}`] : []),
  ];
  const list = options.length ? `, {\n${options.map((one) => `  ${one},\n`).join("")}}` : "";
  const call = `const response = await fetch(${jsonOf(url)}${list});\n`;
  return `${head}${call}if (!response.ok) throw new Error(await response.text());\n${isJob ? jobOf(hasKey) : isStream ? STREAM : SHOW}`;
}

const HELPER = `const dataUrl = (file) => new Promise((resolve, reject) => {
  const reader = new FileReader();
  reader.onload = () => resolve(reader.result);
  reader.onerror = () => reject(reader.error);
  reader.readAsDataURL(file);
});
`;
const STREAM = `const decoder = new TextDecoder();
for await (const chunk of response.body) {
  console.log(decoder.decode(chunk, { stream: true }));
}
`;
const SHOW = `const type = response.headers.get("Content-Type") ?? "";
console.log(type.includes("json") ? await response.json() : type.startsWith("text/") ? await response.text() : await response.blob());
`;

/** Ask for the job until it has ended; the server answers when it has, or after 30 s. */
function jobOf(hasKey: boolean): string {
  const key = hasKey ? ", Authorization: `Bearer ${API_KEY}`" : "";
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
  if (file) return `await dataUrl(file) /* a File, such as ${comment(file.name)} */`;
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

/** Return a name that ends no comment. */
function comment(name: string): string {
  return name.replaceAll("*/", "* /").replaceAll("\n", " ").replace(UNSEEN, " ");
}
