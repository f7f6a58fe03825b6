// Keeps the page responsive while data arrives faster than it can be shown.

const SLICE = 10; // milliseconds of work, after which the browser may do something else
const INTERVAL = 50; // milliseconds between two updates; more of them would not be seen
const SHARE = 3; // after an update, the next one waits for so many times as long as that took

/** Updates the page at most once per animation frame, and less often if that takes long. */
export class Pace {
  #timer: ReturnType<typeof setTimeout> | undefined;
  #frame: number | undefined;
  #next = 0;
  #resumed = performance.now();

  constructor(private readonly update: () => void) {}

  /** Update the page soon. */
  ask(): void {
    if (this.#timer === undefined && this.#frame === undefined) this.#wait();
  }

  /** Update the page immediately. */
  now(): void {
    clearTimeout(this.#timer);
    if (this.#frame !== undefined) cancelAnimationFrame(this.#frame);
    this.#timer = this.#frame = undefined;
    const began = performance.now();
    this.update();
    void task().then(() => {
      const ended = performance.now(); // layout and paint included
      this.#next = ended + Math.max(INTERVAL, (ended - began) * SHARE);
    });
  }

  /** Let the browser respond to its user, if it could not for a while. */
  async rest(): Promise<void> {
    if (performance.now() - this.#resumed < SLICE) return;
    await task();
    this.#resumed = performance.now();
  }

  #wait(): void {
    const left = this.#next - performance.now();
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined;
        if (performance.now() < this.#next) this.#wait();
        else if (document.hidden) this.now(); // there are no frames
        else this.#frame = requestAnimationFrame(() => this.now());
      },
      Math.max(0, left),
    );
  }
}

/** Wait until the browser has done what it had to do. A timer would be slow in a hidden tab. */
function task(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}
