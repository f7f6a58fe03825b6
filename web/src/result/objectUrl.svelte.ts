/** Return a getter of a blob's URL, which is revoked when the blob changes or the component ends. */
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
