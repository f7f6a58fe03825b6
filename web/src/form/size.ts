/** Say how large a file is. */
export function sizeOf(bytes: number): string {
  const units = ["bytes", "kB", "MB", "GB"];
  let size = bytes;
  let unit = 0;
  while (size >= 1000 && unit < units.length - 1) {
    size /= 1000;
    unit += 1;
  }
  const digits = unit && size < 10 ? 1 : 0;
  return `${size.toLocaleString("en", { maximumFractionDigits: digits })} ${bytes === 1 ? "byte" : units[unit]!}`;
}
