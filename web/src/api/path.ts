// Paths of fields.

/** Return the path of a field as it is written in code: filters[0].name. */
export function written(path: (string | number)[]): string {
  return path.map((one, at) => (typeof one === "number" ? `[${one}]` : at ? `.${one}` : one)).join("");
}
