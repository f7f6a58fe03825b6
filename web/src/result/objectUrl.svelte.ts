/** Return a getter of the URL of a blob, which is revoked when it changes or its component ends. */
export function objectUrl(source: () => Blob | string): () => string {
  let url = $state("");
  $effect(() => {
    const from = source();
    if (typeof from === "string") {
      url = from;
      return;
    }
    const made = URL.createObjectURL(from);
    url = made;
    return () => URL.revokeObjectURL(made);
  });
  return () => url;
}
