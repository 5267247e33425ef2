// @ts-check
// The tabs that one account has open in this browser: what one does, the others hear of, and what only one of them may do at a time.
// Each has a socket of its own; the server tells them the same. Without these interfaces of the browser (locks need a secure
// context) a tab is alone, and repeats what another has done; that is harmless, since the server knows messages by their ids.

/** One tab among those of its user. */
export class Tabs {
  #channel;
  #name;
  #over = new AbortController();

  /** @param {string} owner @param {(message: any) => void} heard what another tab said */
  constructor(owner, heard) {
    this.#name = `chinwag.${owner}`;
    this.#channel = globalThis.BroadcastChannel ? new BroadcastChannel(this.#name) : null;
    if (this.#channel) this.#channel.onmessage = ({ data }) => heard(data);
  }

  /** Tells the other tabs. @param {unknown} message */
  say(message) {
    if (!this.#over.signal.aborted) this.#channel?.postMessage(message);
  }

  /**
   * Does something that no other tab does at the same time; waits for its turn, which comes also when the tab that has it is closed.
   * @param {string} what @param {() => Promise<void>} run
   */
  async exclusively(what, run) {
    const locks = globalThis.navigator?.locks;
    if (!locks) return run();
    const { signal } = this.#over;
    try {
      await locks.request(`${this.#name}.${what}`, { signal }, run);
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }

  close() {
    this.#over.abort();
    this.#channel?.close();
  }
}
