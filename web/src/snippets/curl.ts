// A call as a curl command for a POSIX shell.

import { jsonParts, type Snippet, typeOf } from "./call";

export function curl({ plan, url, hasKey, isStream, isJob }: Snippet): string {
  const { method, body } = plan;
  const parts: string[] = [isStream ? "curl -N" : isJob ? "curl -i" : "curl"];
  if (method === "POST" ? body.kind === "none" : method !== "GET") parts.push(`-X ${method}`);
  if (hasKey) parts.push('-H "Authorization: Bearer $API_KEY"');
  for (const [name, value] of Object.entries(plan.headers)) parts.push(`-H ${quoted(`${name}: ${value}`)}`);
  let input = "";
  if (body.kind === "file") {
    parts.push(`-H ${quoted(`Content-Type: ${body.type}`)}`, `--data-binary ${quoted(`@${body.file.name}`)}`);
  } else if (body.kind === "text") {
    parts.push(`-H 'Content-Type: text/plain; charset=utf-8'`, `--data-raw ${quoted(body.text)}`);
  } else if (body.kind === "form") {
    for (const [name, value] of body.parts) {
      if (typeof value === "string") parts.push(`--form-string ${quoted(`${name}=${value}`)}`);
      else parts.push(`-F ${quoted(`${name}=@${inForm(value.name)};type=${typeOf(value)}`)}`);
    }
  } else if (body.kind === "json") {
    parts.push("-H 'Content-Type: application/json'");
    const pieces = jsonParts(body.value, undefined);
    if (pieces.length === 1) parts.push(`--data-raw ${quoted(pieces[0] as string)}`);
    else {
      // Large files do not fit into the arguments of a command.
      parts.push("--data-binary @-");
      input = ` <<END\n${pieces.map(inHere).join("")}\nEND`;
    }
  }
  parts.push(quoted(url));
  return parts.join(" \\\n  ") + input;
}

/** Quote for a POSIX shell. */
export function quoted(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

/** Quote a file name in curl's syntax for parts of a form. */
function inForm(name: string): string {
  return /[;,"\\]/.test(name) ? `"${name.replace(/["\\]/g, "\\$&")}"` : name;
}

function inHere(part: string | File): string {
  if (typeof part === "string") return part.replace(/[\\$`]/g, "\\$&");
  return `data:${typeOf(part)};base64,$(base64 < ${quoted(part.name)} | tr -d '\\n')`;
}
