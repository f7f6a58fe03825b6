// Repeats a task while the page is visible.

/**
 * Run a task now, and again after each pause while the tab is visible.
 * Returns a function that stops it.
 */
export function whileVisible(task: () => Promise<void>, milliseconds: number): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let isRunning = false;
  let hasEnded = false;

  async function turn(): Promise<void> {
    clearTimeout(timer);
    if (isRunning || hasEnded || document.hidden) return;
    isRunning = true;
    try {
      await task();
    } finally {
      isRunning = false;
      if (!hasEnded) timer = setTimeout(turn, milliseconds);
    }
  }

  const notice = (): void => void turn();
  document.addEventListener("visibilitychange", notice);
  notice();
  return () => {
    hasEnded = true;
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", notice);
  };
}
