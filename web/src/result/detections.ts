// Boxes and masks in a picture, in the form that docs/page.md describes.

import type { Json } from "../api/document";
import { fileOf } from "../api/files.svelte";
import { isFields, isMedia } from "./shape";

export interface Detection {
  label: string;
  score?: number;
  /** Left, top, right and bottom, in pixels of the picture. */
  box?: [number, number, number, number];
  /** A greyscale picture as a data URL, white where the object is. */
  mask?: string;
  /** The corners of the object's outlines, in pixels. */
  polygons: [number, number][][];
}

const NAMES = ["detections", "objects", "boxes", "masks", "segments", "predictions"];

/** Return the objects that were found in a picture, if the result has that form. */
export function detectionsOf(value: Json | undefined): Detection[] | undefined {
  if (isFields(value)) {
    const name = NAMES.find((one) => Array.isArray(value[one]));
    return name === undefined ? undefined : detectionsOf(value[name]);
  }
  if (!Array.isArray(value) || !value.length || value.length > 1000) return undefined;
  const found = value.map(detectionOf);
  return found.every((one) => one !== undefined) ? found : undefined;
}

function detectionOf(value: Json): Detection | undefined {
  if (Array.isArray(value)) return detectionOf({ box: value });
  if (!isFields(value)) return undefined;
  const box = boxOf(value.box ?? value.bbox);
  const mask = isMedia(value.mask) && value.mask.startsWith("data:image/") ? value.mask : undefined;
  const polygons = mask ? [] : polygonsOf(value.mask ?? value.polygon);
  if (!box && !mask && !polygons.length) return undefined;
  return {
    label: typeof value.label === "string" ? value.label : "",
    ...(typeof value.score === "number" ? { score: value.score } : {}),
    ...(box ? { box } : {}),
    ...(mask ? { mask } : {}),
    polygons,
  };
}

function boxOf(value: Json | undefined): Detection["box"] {
  const corners = isFields(value)
    ? [value.xmin, value.ymin, value.xmax, value.ymax]
    : Array.isArray(value)
      ? value
      : [];
  const isBox = corners.length === 4 && corners.every((one) => Number.isFinite(one));
  return isBox ? (corners as Detection["box"]) : undefined;
}

/** Read [[x, y], ...], or a list of several of these. */
function polygonsOf(value: Json | undefined): [number, number][][] {
  if (!Array.isArray(value) || !value.length) return [];
  if (isPolygon(value)) return [value];
  return value.every(isPolygon) ? (value as [number, number][][]) : [];
}

function isPolygon(value: Json): value is [number, number][] {
  const isPoint = (one: Json): boolean =>
    Array.isArray(one) && one.length === 2 && one.every((number) => Number.isFinite(number));
  return Array.isArray(value) && value.length > 2 && value.every(isPoint);
}

/** Return the first picture in the input of a call. */
export function pictureIn(input: Json | undefined): Blob | string | undefined {
  const file = fileOf(input);
  if (file) return file.type.startsWith("image/") ? file : undefined;
  if (typeof input === "string") return input.startsWith("data:image/") && isMedia(input) ? input : undefined;
  if (typeof input !== "object" || input === null) return undefined;
  for (const one of Object.values(input).slice(0, 100)) {
    const found = pictureIn(one);
    if (found) return found;
  }
  return undefined;
}
