/** Keep the end of growing content in view, unless the user has scrolled away from it. */
export function following(box: HTMLElement): () => void {
  let isAtEnd = true;
  const note = (): void => {
    isAtEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 24;
  };
  const growing = new MutationObserver(() => {
    if (isAtEnd) box.scrollTop = box.scrollHeight;
  });
  box.addEventListener("scroll", note);
  growing.observe(box, { childList: true, characterData: true, subtree: true });
  return () => {
    growing.disconnect();
    box.removeEventListener("scroll", note);
  };
}
