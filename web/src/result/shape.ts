// The shape of a result, which decides how it can be shown. Pure functions.

import type { Json } from "../api/document";

type Fields = Record<string, Json>;

export interface Score {
  label: string;
  score: number;
}

export interface Vectors {
  vectors: number[][];
  dimension: number;
}

const TEXT = [
  "text", "generated_text", "summary_text", "translation_text",
  "answer", "content", "output", "completion", "transcription", "markdown",
]; // prettier-ignore
const VECTOR = ["embedding", "vector", "embeddings", "vectors"];
const MOST_SCORES = 1000;
const LEAST_DIMENSION = 16;
const MEDIA = /^data:(image|audio|video)\/[\w.+-]+(;[\w=.+-]+)*;base64,[\w+/]+=*$/;

export function isFields(value: Json | undefined): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isNumber(value: Json | undefined): value is number {
  return typeof value === "number" && Number.isFinite(value);
}

/** Return the scores by label, the highest first: {"cat": 0.9} or [{"label": "cat", "score": 0.9}]. */
export function scoresOf(value: Json | undefined): Score[] | undefined {
  const scores = isFields(value) ? scoresByName(value) : scoresInList(value);
  return scores?.sort((one, other) => other.score - one.score);
}

function scoresByName(fields: Fields): Score[] | undefined {
  const { labels, scores } = fields;
  if (Array.isArray(labels) && Array.isArray(scores) && labels.length === scores.length) {
    return scoresInList(labels.map((label, index) => ({ label, score: scores[index]! })));
  }
  const entries = Object.entries(fields);
  if (entries.length < 2 || entries.length > MOST_SCORES) return undefined;
  if (!entries.every(([, score]) => isNumber(score) && score >= 0)) return undefined;
  return entries.map(([label, score]) => ({ label, score: score as number }));
}

function scoresInList(value: Json | undefined): Score[] | undefined {
  if (!Array.isArray(value)) return undefined;
  if (value.length === 1 && Array.isArray(value[0])) return scoresInList(value[0]); // a batch of one
  if (!value.length || value.length > MOST_SCORES) return undefined;
  const isScore = (one: Json): boolean =>
    isFields(one) && typeof one.label === "string" && isNumber(one.score) && one.score >= 0 &&
    !("box" in one) && !("mask" in one); // prettier-ignore
  return value.every(isScore)
    ? value.map((one) => ({ label: (one as Fields).label as string, score: (one as Fields).score as number }))
    : undefined;
}

/** Return the vectors of a result: a list of numbers, several of one length, or an embedding. */
export function vectorsOf(value: Json | undefined): Vectors | undefined {
  if (isFields(value)) {
    if (Array.isArray(value.data) && value.data.every((one) => isFields(one) && "embedding" in one)) {
      return vectorsOf(value.data.map((one) => (one as Fields).embedding!));
    }
    const name = VECTOR.find((one) => one in value);
    return name === undefined ? undefined : vectorsOf(value[name]);
  }
  if (!Array.isArray(value)) return undefined;
  const vectors = (isNumber(value[0]) ? [value] : value) as number[][];
  const dimension = Array.isArray(vectors[0]) ? vectors[0].length : 0;
  if (dimension < LEAST_DIMENSION) return undefined;
  const fits = (one: Json): boolean =>
    Array.isArray(one) && one.length === dimension && one.every(isNumber);
  return vectors.every(fits) ? { vectors, dimension } : undefined;
}

/** Return a list of `count` strings in the input: the labels of as many vectors. */
export function textsOf(input: Json | undefined, count: number): string[] | undefined {
  const lists = [input, ...(isFields(input) ? Object.values(input) : [])];
  return lists.find(
    (one): one is string[] =>
      Array.isArray(one) && one.length === count && one.every((text) => typeof text === "string"),
  );
}

/** Return the pictures, audio and video in a result that are data URLs, by name. */
export function mediaOf(value: Json | undefined): [string, string][] {
  const members: [string, Json | undefined][] =
    typeof value === "object" && value !== null
      ? Object.keys(value).slice(0, 100).map((name) => [name, (value as Fields)[name]])
      : [["result", value]];
  return members.filter((one): one is [string, string] => isMedia(one[1]));
}

export function isMedia(value: Json | undefined): value is string {
  return typeof value === "string" && value.startsWith("data:") && MEDIA.test(value);
}

/** Return the text that a result is, or is all that it contains: {"text": "..."}. */
export function textOf(value: Json | undefined): string | undefined {
  if (typeof value === "string") return isMedia(value) ? undefined : value;
  if (Array.isArray(value)) return value.length === 1 && isFields(value[0]) ? textOf(value[0]) : undefined;
  if (!isFields(value)) return undefined;
  const [name, ...others] = Object.keys(value);
  if (name === undefined || others.length || !TEXT.includes(name)) return undefined;
  const text = value[name];
  return typeof text === "string" && !isMedia(text) ? text : undefined;
}

const MARKDOWN = [
  /^#{1,6} \S/m,
  /^ *(```|~~~)/m,
  /^ *([-*+]|\d{1,3}[.)]) \S.*\n+ *([-*+]|\d{1,3}[.)]) \S/m,
  /^> \S/m,
  /^ *\|.+\| *$/m,
  /(^|\W)\*\*\S[^*\n]*\*\*(\W|$)/m,
  /\[[^[\]\n]+\]\(https?:\/\/[^\s)]+\)/,
];

/** Return whether a text looks like Markdown. */
export function isMarkdown(text: string): boolean {
  const begin = text.slice(0, 20_000);
  return MARKDOWN.some((pattern) => pattern.test(begin));
}
