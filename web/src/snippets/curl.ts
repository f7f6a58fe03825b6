// A call as a curl command for a POSIX shell.

import { jsonParts, type Snippet, typeOf, UNSEEN } from "./call";

export function curl({ plan, url, hasKey, isStream, isJob }: Snippet): string {
  const { method, body } = plan;
  const parts: string[] = [isStream ? "curl -N" : isJob ? "curl -i" : "curl"];
  if (method === "POST" ? body.kind === "none" : method !== "GET") parts.push(`-X ${method}`);
  if (/[[\]{}]/.test(url)) parts.push("-g"); // which curl would give a meaning to
  if (hasKey) parts.push('-H "Authorization: Bearer $API_KEY"');
  for (const [name, value] of Object.entries(plan.headers)) parts.push(`-H ${quoted(`${name}: ${value}`)}`);
  let input = "";
  if (body.kind === "file") {
    parts.push(`-H ${quoted(`Content-Type: ${body.type}`)}`, `--data-binary ${quoted(`@${notStdin(body.file.name)}`)}`);
  } else if (body.kind === "text") {
    parts.push(`-H 'Content-Type: text/plain; charset=utf-8'`, `--data-raw ${quoted(body.text)}`);
  } else if (body.kind === "form") {
    for (const [name, value] of body.parts) {
      if (typeof value === "string") parts.push(`--form-string ${quoted(`${name}=${value}`)}`);
      else parts.push(`-F ${quoted(`${name}=@${inForm(value.name)};type=${typeOf(value)}`)}`);
    }
  } else if (body.kind === "json") {
    parts.push("-H 'Content-Type: application/json'");
    const pieces = jsonParts(body.value);
    if (pieces.length === 1) parts.push(`--data-raw ${quoted(pieces[0] as string)}`);
    else {
      // Large files do not fit into the arguments of a command.
      parts.push("--data-binary @-");
      const text = pieces.map(inHere).join("");
      let end = "END";
      while (text.split("\n").includes(end)) end += "_"; // a file may be called so
      input = ` <<${end}\n${text}\n${end}`;
    }
  }
  parts.push(quoted(url));
  return parts.join(" \\\n  ") + input;
}

/** Quote for a POSIX shell. */
export function quoted(text: string): string {
  if (/^[\w@%+=:,./-]+$/.test(text)) return text;
  const bytes = (one: string): string => {
    return [...new TextEncoder().encode(one)].map((byte) => `\\${byte.toString(8).padStart(3, "0")}`).join("");
  };
  return `'${text.replaceAll("'", `'\\''`).replace(UNSEEN, (one) => `'"$(printf '${bytes(one)}')"'`)}'`;
}

/** Quote a file name in curl's syntax for parts of a form. */
function inForm(name: string): string {
  return /[;,"\\]|^\s|\s$/.test(name) ? `"${name.replace(/["\\]/g, "\\$&")}"` : notStdin(name);
}

function notStdin(name: string): string {
  return name === "-" ? "./-" : name;
}

function inHere(part: string | File): string {
  if (typeof part === "string") return part.replace(/[\\$`]/g, "\\$&");
  return `data:${inHere(typeOf(part))};base64,$(base64 < ${quoted(part.name)} | tr -d '\\n')`;
}
