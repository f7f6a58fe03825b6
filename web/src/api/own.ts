/** Return what a table has by a name from outside, which may be "constructor": every object has that. */
export function own<T>(table: Record<string, T> | undefined, name: string): T | undefined {
  return table && Object.hasOwn(table, name) ? table[name] : undefined;
}
