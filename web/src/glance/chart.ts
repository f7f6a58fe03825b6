// The look of a chart, for uPlot.

import type uPlot from "uplot";

export const HEIGHT = 120;
export const DASHES = [[], [6, 4], [2, 3]]; // lines must differ in more than colour

export interface Colours {
  ink: string;
  grid: string;
  lines: string[];
}

/**
 * Return the options of a chart that covers the last `span` seconds; `shown` formats a value with
 * its unit.
 */
export function options(
  width: number,
  colours: Colours,
  span: number,
  shown: (value: number) => string,
): uPlot.Options {
  const axis = { stroke: colours.ink, font: "12px system-ui, sans-serif", ticks: { show: false } };
  const grid = { stroke: colours.grid, width: 1 };
  return {
    width,
    height: HEIGHT,
    legend: { show: false },
    cursor: { show: false },
    scales: {
      x: { range: (_, __, last) => [(last ?? Date.now() / 1000) - span, last ?? Date.now() / 1000] },
      y: { range: (_, __, most) => [0, most > 0 ? most * 1.1 : 1] },
    },
    axes: [
      { ...axis, grid: { show: false }, size: 28, space: 80, values: (_, all) => all.map(clock) },
      { ...axis, grid, size: 64, space: 40, values: (_, all) => all.map(shown) },
    ],
    series: [
      {},
      ...colours.lines.map((stroke, index) => ({
        stroke,
        width: 2,
        dash: DASHES[index]!,
        points: { show: false },
      })),
    ],
  };
}

function clock(seconds: number): string {
  const time = new Date(seconds * 1000);
  return time.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
}
