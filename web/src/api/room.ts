// How much of a stream the page holds: a browser cannot hold a string of more than about 2^29.

const ROOM = 2 ** 27; // characters or bytes

/** There is more of a stream than the page can hold. */
export class NoRoom extends Error {}

/** Return a size. Throws NoRoom if the page cannot hold as much. */
export function fitting(size: number): number {
  if (size > ROOM) throw new NoRoom("The stream is too large for this page.");
  return size;
}
