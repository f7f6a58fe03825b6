// A call in Python, with httpx.

import type { Json } from "../api/document";
import { fileOf } from "../api/files.svelte";
import { holdsFile } from "../api/plan";
import { jsonOf, type Snippet, typeOf } from "./call";

export function python({ plan, url, hasKey, isStream, isJob }: Snippet): string {
  const { method, body } = plan;
  const headers: string[] = [];
  const options: string[] = [];
  const imports = ["httpx"];
  let helper = "";
  if (hasKey) {
    headers.push(`"Authorization": f"Bearer {os.environ['API_KEY']}"`);
    imports.push("os");
  }
  for (const [name, value] of Object.entries(plan.headers)) headers.push(`${string(name)}: ${string(value)}`);
  if (body.kind === "json") {
    if (holdsFile(body.value)) {
      imports.push("base64");
      helper = HELPER;
    }
    const text = jsonOf(body.value);
    if (LONE.test(text) && !helper) {
      headers.push('"Content-Type": "application/json"');
      options.push(`content=${string(text)}`);
    } else options.push(`json=${literal(body.value, 4)}`);
  } else if (body.kind === "file") {
    headers.push(`"Content-Type": ${string(body.type)}`);
    options.push(`content=open(${string(body.file.name)}, "rb").read()`);
  } else if (body.kind === "text") {
    headers.push('"Content-Type": "text/plain; charset=utf-8"');
    options.push(`content=${string(body.text)}.encode()`);
  } else if (body.kind === "form") options.push(...formOf(body.parts));
  if (isJob) imports.push("time");
  if (headers.length) options.push(`headers={${headers.join(", ")}}`);
  options.push("timeout=None");

  const target = [string(url), ...options].map((one) => `    ${one},\n`).join("");
  const head = `${imports.sort().map((one) => `import ${one}\n`).join("")}\n${helper}`;
  const call = method.toLowerCase();
  if (isStream) {
    const stream = `with httpx.stream(\n    "${method}",\n${target}) as response:\n`;
    return `${head}${stream}    response.raise_for_status()\n    for text in response.iter_text():\n        print(text, end="", flush=True)\n`;
  }
  if (isJob) {
    const key = hasKey ? `headers={${headers[0]!}}, ` : "";
    return `${head}response = httpx.${call}(\n${target})\nresponse.raise_for_status()\n${jobOf(key)}`;
  }
  return `${head}response = httpx.${call}(\n${target})\nresponse.raise_for_status()\n${SHOW}`;
}

const LONE = /\\ud[89a-f]/; // half of a character, which JSON can have, but httpx cannot encode

const HELPER = `
def data_url(path, media_type):
    with open(path, "rb") as file:
        return f"data:{media_type};base64,{base64.b64encode(file.read()).decode()}"


`;
const SHOW = `is_text = response.headers.get("content-type", "").startswith(("text/", "application/json"))
print(response.text if is_text else f"{len(response.content)} bytes")
`;

/** Ask for the job until it has ended; the server answers when it has, or after 30 s. */
function jobOf(key: string): string {
  return `url = response.url.join(response.headers["Location"])
while True:
    job = httpx.get(url, ${key ? key.replace("}, ", ', "Prefer": "wait=30"}, ') : 'headers={"Prefer": "wait=30"}, '}timeout=None).json()
    if job["status"] not in ("queued", "running"):
        break
    time.sleep(1)
print(job)
`;
}

function formOf(parts: [string, string | File][]): string[] {
  const texts = new Map<string, string[]>();
  const files: string[] = [];
  for (const [name, value] of parts) {
    if (typeof value === "string") texts.set(name, [...(texts.get(name) ?? []), value]);
    else {
      const file = `(${string(value.name)}, open(${string(value.name)}, "rb"), ${string(typeOf(value))})`;
      files.push(`        (${string(name)}, ${file}),\n`);
    }
  }
  const fields = [...texts].map(([name, values]) => {
    const value = values.length === 1 ? string(values[0]!) : `[${values.map(string).join(", ")}]`;
    return `${string(name)}: ${value}`;
  });
  const data = fields.length ? [`data={${fields.join(", ")}}`] : [];
  return [...data, `files=[\n${files.join("")}    ]`];
}

/** Write JSON as a Python literal. */
export function literal(value: Json, indent: number): string {
  const file = fileOf(value);
  if (file) return `data_url(${string(file.name)}, ${string(typeOf(file))})`;
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value === "string") return string(value);
  if (typeof value === "bigint" || Number.isFinite(value)) return jsonOf(value);
  if (typeof value === "number") return "None"; // as in JSON
  const inner = " ".repeat(indent + 4);
  const [open, close, parts] = Array.isArray(value)
    ? ["[", "]", value.map((one) => literal(one, indent + 4))]
    : ["{", "}", Object.entries(value).map(([name, one]) => `${string(name)}: ${literal(one, indent + 4)}`)];
  const line = `${open}${parts.join(", ")}${close}`;
  if (line.length < 70 && !line.includes("\n")) return line;
  return `${open}\n${parts.map((one) => `${inner}${one},\n`).join("")}${" ".repeat(indent)}${close}`;
}

/** Write a text as a Python literal. JSON's escapes are Python's. */
function string(text: string): string {
  return jsonOf(text);
}
