// Which views fit a result; the first is shown unless the user chooses another one.

import type { Json } from "../api/document";
import { detectionsOf, pictureIn } from "./detections";
import { isMarkdown, mediaOf, scoresOf, textOf, vectorsOf } from "./shape";

export type View =
  | "Drawing"
  | "Media"
  | "Bars"
  | "Vector"
  | "Similarity"
  | "Markdown"
  | "Plain"
  | "Tree"
  | "Chunks"
  | "JSON";

export const TEXT_VIEWS: View[] = ["Plain", "Markdown"];

export const LONGEST = 300_000; // characters of Markdown: more would take a browser long

export function viewsOf(json: Json | undefined, input: Json | undefined): View[] {
  if (json === undefined) return [];
  const views: View[] = [];
  if (detectionsOf(json) && pictureIn(input)) views.push("Drawing");
  if (mediaOf(json).length) views.push("Media");
  if (scoresOf(json)) views.push("Bars");
  const found = vectorsOf(json);
  if (found && found.vectors.length > 1) views.push("Similarity");
  if (found) views.push("Vector");
  const text = textOf(json);
  if (text !== undefined) views.push(...TEXT_VIEWS);
  return [...views, "Tree", "JSON"];
}

/** Return the initial view. */
export function fitting(views: View[], text: string | undefined): View | undefined {
  const isShort = (text ?? "").length < LONGEST;
  return views[0] === "Plain" && isShort && isMarkdown(text ?? "") ? "Markdown" : views[0];
}
