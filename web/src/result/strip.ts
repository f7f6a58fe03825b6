// Numbers as a strip of colours: orange is positive, blue is negative, pale is close to zero.

const MOST_COLUMNS = 2048; // more numbers share columns, each of which shows its largest

export interface Figures {
  norm: number;
  least: number;
  most: number;
}

export function figuresOf(vector: number[]): Figures {
  let squares = 0;
  let least = Infinity;
  let most = -Infinity;
  for (const one of vector) {
    squares += one * one;
    if (one < least) least = one;
    if (one > most) most = one;
  }
  return { norm: Math.sqrt(squares), least, most };
}

export function draw(canvas: HTMLCanvasElement, vector: number[], extent: number): void {
  const columns = Math.min(vector.length, MOST_COLUMNS);
  canvas.width = columns;
  canvas.height = 1;
  const context = canvas.getContext("2d")!;
  const picture = context.createImageData(columns, 1);
  vector.forEach((one, index) => {
    const at = 4 * Math.floor((index * columns) / vector.length);
    const strength = Math.round((255 * Math.abs(one)) / (extent || 1));
    if (strength < picture.data[at + 3]!) return;
    picture.data.set(one < 0 ? [40, 110, 230, strength] : [235, 110, 20, strength], at);
  });
  context.putImageData(picture, 0, 0);
}

/** Return the cosine of the angle between each pair of vectors; 0 if one has length zero. */
export function similarities(vectors: number[][]): number[][] {
  const norms = vectors.map((one) => figuresOf(one).norm);
  return vectors.map((one, row) =>
    vectors.map((other, column) => {
      const length = norms[row]! * norms[column]!;
      return length ? dot(one, other) / length : 0;
    }),
  );
}

function dot(one: number[], other: number[]): number {
  let sum = 0;
  for (let index = 0; index < one.length; index += 1) sum += one[index]! * other[index]!;
  return sum;
}
