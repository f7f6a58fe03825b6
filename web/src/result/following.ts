/**
 * Keep the end of growing content in view, unless the user has scrolled away from it. The content
 * must be the only child of `box`.
 */
export function following(box: HTMLElement): () => void {
  let isAtEnd = true;
  let last = 0; // where the box was last scrolled to
  const note = (): void => {
    // The content may have grown since the box was scrolled: only going back is the user's doing.
    if (box.scrollHeight - box.scrollTop - box.clientHeight < 24) isAtEnd = true;
    else if (box.scrollTop < last) isAtEnd = false;
    last = box.scrollTop;
  };
  // Content also grows without a change of its elements, when it is laid out anew.
  const growing = new ResizeObserver(() => {
    if (!isAtEnd) return;
    box.scrollTop = box.scrollHeight;
    last = box.scrollTop;
  });
  box.addEventListener("scroll", note);
  growing.observe(box.firstElementChild as Element);
  return () => {
    growing.disconnect();
    box.removeEventListener("scroll", note);
  };
}
