// Draws detected objects on a canvas that lies over the picture.

import type { Detection } from "./detections";

const COLOURS = ["#e6194b", "#0082c8", "#c65d00", "#911eb4", "#008080", "#7a5c00", "#d02090", "#2e7d32"];

/** Return the colour of the object at `index`. */
export function colourOf(index: number): string {
  return COLOURS[index % COLOURS.length]!;
}

/** Draw the objects; `isWanted` tells whether the canvas still shows them. */
export async function draw(
  canvas: HTMLCanvasElement,
  found: Detection[],
  [width, height]: [number, number],
  isWanted: () => boolean,
): Promise<void> {
  const masks = await Promise.all(found.map(({ mask }, index) => tinted(mask, colourOf(index))));
  if (!isWanted()) return;
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d")!;
  // Lines are equally thick in large and small pictures, and still visible in tiny ones.
  const scale = width / (canvas.clientWidth || width);
  const unit = Math.max(width, height, 400, 400 * scale) / 100;
  context.font = `${2.6 * unit}px system-ui, sans-serif`;
  for (const mask of masks) if (mask) context.drawImage(mask, 0, 0, width, height);
  found.forEach((one, index) => drawOutlines(context, one, colourOf(index), unit));
}

function drawOutlines(
  context: CanvasRenderingContext2D,
  { box, polygons, label, score }: Detection,
  colour: string,
  unit: number,
): void {
  context.strokeStyle = context.fillStyle = colour;
  context.lineWidth = 0.4 * unit;
  for (const polygon of polygons) {
    context.beginPath();
    for (const [x, y] of polygon) context.lineTo(x, y);
    context.closePath();
    context.stroke();
    context.globalAlpha = 0.35;
    context.fill();
    context.globalAlpha = 1;
  }
  if (!box) return;
  const [left, top, right, bottom] = box;
  context.strokeRect(left, top, right - left, bottom - top);
  const text = [label.slice(0, 40), score?.toFixed(2)].filter(Boolean).join(" ");
  if (!text) return;
  const at = Math.max(top - 3.2 * unit, 0);
  context.fillRect(left, at, context.measureText(text).width + unit, 3.2 * unit);
  context.fillStyle = "#fff";
  context.fillText(text, left + 0.5 * unit, at + 2.4 * unit);
}

/** Return a mask in a colour, transparent where it is dark. */
async function tinted(url: string | undefined, colour: string): Promise<HTMLCanvasElement | undefined> {
  if (!url) return undefined;
  const picture = new Image();
  picture.src = url;
  try {
    await picture.decode();
  } catch {
    return undefined;
  }
  const canvas = document.createElement("canvas");
  canvas.width = picture.naturalWidth;
  canvas.height = picture.naturalHeight;
  const context = canvas.getContext("2d")!;
  context.drawImage(picture, 0, 0);
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height);
  const rgb = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  for (let at = 0; at < pixels.data.length; at += 4) {
    const grey = (pixels.data[at]! * pixels.data[at + 3]!) / 255;
    pixels.data.set([...rgb, grey * 0.5], at);
  }
  context.putImageData(pixels, 0, 0);
  return canvas;
}
