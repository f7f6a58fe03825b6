// JSON says of a file only that it is base64; the form beside it says which content types it has.

import type { Operation, Schema } from "../api/document";
import { own } from "../api/own";
import { resolve } from "./schema";

/** Return the schema of an operation's input, whose fields that are files name their types. */
export function inputOf(operation: Operation): Schema | null {
  const root = operation.input;
  const found = root && resolve(root, root);
  if (!found?.properties) return root;
  const fields = Object.entries(found.properties).map(([name, field]) => {
    const contentType = own(operation.encoding, name)?.contentType;
    return [name, contentType ? ofFile(field, contentType) : field] as const;
  });
  return { ...found, properties: Object.fromEntries(fields) };
}

function ofFile(field: Schema, contentMediaType: string): Schema {
  if (field.contentEncoding) return { ...field, contentMediaType };
  if (field.items) return { ...field, items: ofFile(field.items, contentMediaType) };
  if (!field.anyOf) return field;
  return { ...field, anyOf: field.anyOf.map((one) => ofFile(one, contentMediaType)) };
}
