// Validates a document, as JSON on standard input, with a compiled schema (a file of a package).
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const { validate } = await import(pathToFileURL(process.argv[2]));
if (!validate(JSON.parse(readFileSync(0, "utf8")))) {
  console.error(JSON.stringify(validate.errors, null, 1));
  process.exit(1);
}
