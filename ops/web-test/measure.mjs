// What a page costs, as Chromium itself counts it.

/** Events of a trace in which script runs, or is cleaned up after. Those within others count once. */
const SCRIPT = new Set(["FunctionCall", "EvaluateScript", "RunMicrotasks", "FireAnimationFrame", "TimerFire", "EventDispatch", "FireIdleCallback", "MinorGC", "MajorGC"]);
/** Within script: style and layout that it asked for, which count as rendering, as in the browser's own tools. */
const RENDERING = new Set(["Layout", "UpdateLayoutTree"]);
/** Comes once in each frame that the main thread makes. */
const FRAME = "PrePaint";
const CATEGORIES = ["devtools.timeline", "v8"];

/** @param {number[]} values @param {number} at 0 to 1 */
export function quantile(values, at) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(at * sorted.length))] ?? 0;
}

/** Bytes of the page's objects that are in use. */
export class Heap {
  #session;

  static async of(visitor) {
    const heap = new Heap();
    heap.#session = await visitor.context.newCDPSession(visitor.page);
    await heap.#session.send("Performance.enable");
    return heap;
  }

  async bytes() {
    await this.#session.send("HeapProfiler.collectGarbage");
    const { metrics } = await this.#session.send("Performance.getMetrics");
    return metrics.find(({ name }) => name === "JSHeapUsedSize").value;
  }
}

/** Script on the main thread of a page, frame by frame. */
export class Frames {
  #session;
  #events = [];

  static async record(visitor, browser) {
    const frames = new Frames();
    frames.#session = await browser.newBrowserCDPSession();
    frames.#session.on("Tracing.dataCollected", ({ value }) => {
      for (const event of value) if (event.name === FRAME || RENDERING.has(event.name) || (SCRIPT.has(event.name) && ofPage(event))) frames.#events.push(event);
    });
    await frames.#session.send("Tracing.start", { transferMode: "ReportEvents", traceConfig: { includedCategories: CATEGORIES, recordMode: "recordContinuously" } });
    return frames;
  }

  /** Returns milliseconds of processor time between each two frames: of script, and of layout that script forced. */
  async stop() {
    const complete = new Promise((resolve) => this.#session.once("Tracing.tracingComplete", resolve));
    await this.#session.send("Tracing.end");
    await complete;
    await this.#session.detach();
    const perThread = new Map();
    for (const event of this.#events.filter(({ name }) => name === FRAME)) {
      const thread = `${event.pid} ${event.tid}`;
      if (!perThread.has(thread)) perThread.set(thread, []);
      perThread.get(thread).push(event);
    }
    const [thread, starts] = [...perThread].reduce((best, next) => (next[1].length > best[1].length ? next : best), ["", []]);
    return perFrame(starts.map(({ ts }) => ts).sort((a, b) => a - b), this.#events.filter(({ pid, tid, name }) => `${pid} ${tid}` === thread && name !== FRAME));
  }
}

/** What a test evaluates has no address. */
function ofPage({ args }) {
  const url = args?.data?.url;
  return url === undefined || url.startsWith("http");
}

/** @param {number[]} starts of frames, microseconds @param {any[]} events */
function perFrame(starts, events) {
  const frames = starts.slice(1).map(() => ({ script: 0, forced: 0 }));
  let [at, end, rendered] = [0, 0, 0];
  for (const { name, ts, dur = 0, tdur = dur } of [...events].sort((a, b) => a.ts - b.ts || (b.dur ?? 0) - (a.dur ?? 0))) {
    if (ts < starts[0]) continue;
    while (at + 1 < starts.length && starts[at + 1] <= ts) at += 1;
    if (at >= frames.length) break;
    const frame = frames[at];
    if (RENDERING.has(name)) {
      // Only what script asks for, and layout within style but once.
      if (ts >= end || ts < rendered) continue;
      rendered = ts + dur;
      frame.forced += tdur / 1000;
      frame.script -= tdur / 1000;
    } else if (ts >= end) {
      end = ts + dur;
      frame.script += tdur / 1000;
    }
  }
  return frames;
}
