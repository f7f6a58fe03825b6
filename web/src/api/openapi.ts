// An OpenAPI document, as far as the page reads it (https://spec.openapis.org/oas/v3.1.0).

import type { Json } from "./json";

/** A JSON Schema (2020-12), with the document's components beside it, so that references resolve. */
export interface Schema {
  $ref?: string;
  type?: string | string[];
  title?: string;
  description?: string;
  format?: string;
  contentEncoding?: string;
  contentMediaType?: string;
  properties?: Record<string, Schema>;
  items?: Schema;
  anyOf?: Schema[];
  oneOf?: Schema[];
  [keyword: string]: unknown;
}

export interface Media {
  schema?: Schema;
  example?: Json;
  examples?: Record<string, { value?: Json }>;
}

export interface Parameter {
  name: string;
  in: string;
  required?: boolean;
  description?: string;
  schema?: Schema;
}

export interface RawOperation {
  operationId: string;
  summary?: string;
  description?: string;
  tags?: string[];
  deprecated?: boolean;
  parameters?: Parameter[];
  requestBody?: { required?: boolean; content: Record<string, Media> };
  responses: Record<string, { description?: string; content?: Record<string, Media> }>;
  "x-potassium"?: { background: boolean; stream: boolean };
}

export interface OpenApi {
  info: { title: string; version: string; description?: string };
  paths: Record<string, Record<string, RawOperation>>;
  components?: Record<string, unknown>;
}
