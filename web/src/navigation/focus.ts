// Moves the focus to the next element if the focused one disappears, as Stop does at the end of a
// stream. Browsers would start again at the top of the page.

const FOCUSABLE =
  "a[href], button:enabled, input:enabled, select:enabled, textarea:enabled, summary, [tabindex]";
const HOME = '[tabindex="-1"]'; // a state in words, if there is one

/** Keep the focus of the page. Returns a function that stops this. */
export function keepFocus(): () => void {
  let focused: Element | undefined;
  let around: Node[] = []; // the focused element and its ancestors

  const note = ({ target }: FocusEvent): void => {
    focused = target as Element;
    around = [];
    for (let node: Node | null = focused; node; node = node.parentNode) around.push(node);
  };
  const leave = ({ target }: FocusEvent): void => {
    // Browsers also report this for removed elements, which the observer below sees first.
    setTimeout(() => {
      if (focused === target && document.activeElement !== target) focused = undefined;
    });
  };
  const changed = new MutationObserver((records) => {
    const lost = focused;
    if (!lost || ![document.body, lost].includes(document.activeElement!)) return;
    if (lost.isConnected && !lost.matches(":disabled")) {
      if (document.activeElement !== lost) (lost as HTMLElement).focus(); // it was moved
      return;
    }
    const removal = records.find(({ target, removedNodes }) => {
      return target.isConnected && [...removedNodes].some((node) => around.includes(node));
    });
    focused = undefined;
    if (removal) nearest(removal.target, removal.previousSibling)?.focus();
    else if (lost.isConnected) nearest(lost.parentNode!, lost)?.focus();
  });

  document.addEventListener("focusin", note);
  document.addEventListener("focusout", leave);
  const attributeFilter = ["disabled"];
  changed.observe(document.body, { childList: true, subtree: true, attributeFilter });
  return () => {
    changed.disconnect();
    document.removeEventListener("focusin", note);
    document.removeEventListener("focusout", leave);
  };
}

/** Return what gets the focus instead of something that stood after `before` in `place`. */
function nearest(place: Node, before: Node | null): HTMLElement | undefined {
  for (let area = place as Element | null; area; area = area.parentElement) {
    const all = [...area.querySelectorAll<HTMLElement>(FOCUSABLE)].filter((one) => one.checkVisibility());
    const found = all.find((one) => one.matches(HOME)) ?? all.find((one) => follows(one, before)) ?? all.at(-1);
    if (found) return found;
  }
  return undefined;
}

function follows(one: Node, before: Node | null): boolean {
  if (!before?.isConnected) return true;
  const position = before.compareDocumentPosition(one);
  return !!(position & Node.DOCUMENT_POSITION_FOLLOWING) && !(position & Node.DOCUMENT_POSITION_CONTAINED_BY);
}
