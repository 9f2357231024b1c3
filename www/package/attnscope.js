// The engine of attnscope for other programs: runs experiments, generates, checks laws; no page and no framework.
//
//   import { open } from "./package/attnscope.js";
//   const engine = await open({ model: "stories-3m", progress: (bytes, total) => … });
//   const outcome = await engine.run({ prompt: "One day", panes: [{ stack: [{ id: "softmax" }] }] });
//   outcome.panes[0].arrays.pattern            // { shape: [layers, heads, queries, keys], data: Float32Array }
//   for await (const burst of engine.generate({ prompt: "One day", draw: { tokens: 20 } })) console.log(burst.text);
//   engine.dispose();
//
// It drives the worker that the page drives, and speaks the words of src/api/mod.rs. A worker must come from the origin of
// the page that starts it, so the files of attnscope are served beside yours. What fails rejects with an Error whose
// `code` is a stable word.

const HERE = new URL("../", import.meta.url).href;

const superseded = () => Object.assign(new Error("the engine was disposed of"), { code: "superseded" });

/** Starts an engine with a shipped model. */
export async function open({ model = "stories-3m", engine = "auto", base = HERE, progress = () => {} } = {}) {
  const line = new Line(base);
  try {
    const { reply } = await line.call({ command: "open", model, base: new URL(base, location.href).href, engine }, progress);
    return new Engine(line, reply.engine, reply.model);
  } catch (problem) {
    line.end();
    throw problem;
  }
}

/** An engine that is ready. */
export class Engine {
  #line;

  constructor(line, facts, model) {
    this.#line = line;
    /** What computes: tier, adapter, self-check. */
    this.facts = facts;
    /** Sizes of the model. */
    this.model = model;
  }

  /** Runs an experiment. What it leaves out stands for its default. A newer run ends an older one that waits. */
  async run(experiment) {
    const { reply, buffers } = await this.#line.call({ command: "run", experiment });
    const { outcome, arrays } = reply;
    for (const pane of outcome.panes) pane.arrays = {};
    arrays.forEach(([pane, name, shape], index) => {
      outcome.panes[pane].arrays[name] = { shape, data: buffers[index] };
    });
    return outcome;
  }

  /** Maps of one head of one pane of the newest run; NaN where a pair is masked. */
  async head(pane, layer, head) {
    const { reply, buffers } = await this.#line.call({ command: "head", pane, head: { layer, head } });
    const square = (data) => ({ shape: [reply.tokens, reply.tokens], data });
    const [scores, pattern, slot, norms] = buffers;
    return {
      scores: square(scores),
      pattern: square(pattern),
      slot: slot.length > 0 ? { shape: [reply.tokens], data: slot } : null,
      value_norms: { shape: [reply.tokens], data: norms },
    };
  }

  /** Head roles of one pane, from probes. */
  async roles(experiment, pane = 0) {
    return (await this.#line.call({ command: "roles", experiment, pane })).reply.report;
  }

  /** Continues the prompt; `experiment.draw` says how. Leaving the loop ends it. */
  async *generate(experiment, { pane = 0, most = 8 } = {}) {
    await this.#line.call({ command: "begin", experiment, pane });
    let left = experiment.draw?.tokens ?? 48;
    while (left > 0) {
      const { reply } = await this.#line.call({ command: "burst", pane, most: Math.min(most, left) });
      left -= reply.tokens.length;
      const { tokens, text, millis, ended, notice } = reply;
      yield { tokens, text, millis, ended, notice };
      if (ended || tokens.length === 0) return;
    }
  }

  /** Checks the laws of a mechanism on this device. */
  async check(mechanism) {
    return (await this.#line.call({ command: "laws", mechanism })).reply.laws;
  }

  /** Every mechanism: role, source, parameters. */
  async mechanisms() {
    const response = await fetch(new URL("mechanisms.json", this.#line.base));
    if (!response.ok) throw Object.assign(new Error(`mechanisms.json: ${response.status}`), { code: "file" });
    return response.json();
  }

  /** Ends the worker; what is asked of it then fails. */
  dispose() {
    this.#line.end();
  }
}

// Commands and their replies, by number.
class Line {
  #worker;
  #listens;
  #lastId = 0;
  #waiting = new Map();

  constructor(base) {
    this.base = new URL(base, location.href).href;
    this.#worker = new Worker(new URL("worker_loader.js", this.base), { type: "module" });
    this.#listens = new Promise((resolve) => {
      this.#worker.onmessage = ({ data }) => (data.id === 0 ? this.#greeted(data, resolve) : this.#hear(data));
    });
    this.#worker.onerror = ({ message }) => this.end(Object.assign(new Error(`the engine stopped: ${message}`), { code: "worker" }));
  }

  async call(command, progress = () => {}) {
    if (!this.#worker) throw superseded();
    const id = ++this.#lastId;
    const answer = new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject, progress }));
    // Until it listens, the worker is not spoken to; its end ends the waiting.
    this.#listens.then(() => this.#worker?.postMessage({ id, json: JSON.stringify(command), buffers: [] }));
    return answer;
  }

  end(problem = superseded()) {
    this.#worker?.terminate();
    this.#worker = null;
    for (const { reject } of this.#waiting.values()) reject(problem);
    this.#waiting.clear();
  }

  #greeted({ json }, resolve) {
    const { reply, code, message } = JSON.parse(json);
    // It dies of something that it cannot tell in an answer.
    if (reply === "failed") this.end(Object.assign(new Error(message), { code }));
    else resolve();
  }

  #hear({ id, json, buffers }) {
    const reply = JSON.parse(json);
    const waiting = this.#waiting.get(id);
    if (reply.reply === "progress") return waiting?.progress(reply.bytes, reply.total);
    this.#waiting.delete(id);
    if (reply.reply === "failed") waiting?.reject(Object.assign(new Error(reply.message), { code: reply.code }));
    else waiting?.resolve({ reply, buffers: buffers.map((buffer) => new Float32Array(buffer)) });
  }
}
