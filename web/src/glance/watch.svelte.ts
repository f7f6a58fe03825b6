// Watches the server: its status now and over the last few minutes.

import { key } from "../api/key.svelte";
import { request } from "../api/server";
import type { Sample } from "./rates";
import { isStatus, type Status } from "./status";

export const MINUTES = 5;
export const PAUSE = 2000; // milliseconds between two requests
const PATIENCE = 10_000; // milliseconds to wait for a response

export class Watch {
  status: Status | undefined = $state.raw();
  samples: Sample[] = $state.raw([]);
  /** Why the status is unknown, as a sentence; empty if it is known. */
  fault = $state("");
  #hasKnocked = false;

  /** Ask for the status. */
  async look(): Promise<void> {
    if (key.isRefused) return; // until a new key is entered
    try {
      const response = await request("/_k/status", { signal: AbortSignal.timeout(PATIENCE) });
      if (response.status === 401) return;
      if (!response.ok) {
        this.fault = `The server cannot be reached: it answered with status ${response.status}.`;
        return;
      }
      const found: unknown = await response.json();
      if (isStatus(found)) this.#note(found);
      else this.fault = "Something else answered in the place of the server.";
    } catch {
      this.fault = "The server cannot be reached.";
    }
  }

  #note(status: Status): void {
    this.status = status;
    this.fault = "";
    const at = Date.now() / 1000;
    const recent = this.samples.filter((one) => one.at > at - MINUTES * 60);
    this.samples = [...recent, { at, status }];
    if (status.state === "starting") void this.#knock();
  }

  /** Start an app that starts with its first request; a request for its status does not count. */
  async #knock(): Promise<void> {
    if (this.#hasKnocked) return;
    this.#hasKnocked = true;
    await request("/readyz").catch(() => undefined);
  }
}
