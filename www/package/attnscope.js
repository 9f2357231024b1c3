// The engine of attnscope for other programs: runs experiments, generates, checks laws; no page and no framework.
//
//   import { open } from "./package/attnscope.js";
//   const engine = await open({ model: "stories-3m", progress: (bytes, total) => … });
//   await engine.loadModel("owner/name");        // or an address, files, or bytes by name
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

/** Starts an engine with a model; what it may be says {@link Engine.loadModel}. */
export async function open({ model = "stories-3m", engine = "auto", base = HERE, keep = false, progress = () => {}, signal } = {}) {
  const line = new Line(base);
  const opened = new Engine(line, engine);
  try {
    await opened.loadModel(model, { keep, progress, signal });
    return opened;
  } catch (problem) {
    line.end();
    throw problem;
  }
}

// Files by name: of a list of files, or of an object with bytes.
function filesOf(model) {
  if (typeof model === "string") return null;
  const list = Symbol.iterator in model ? [...model].map((file) => [file.webkitRelativePath || file.name, file]) : Object.entries(model);
  return list.map(([name, bytes]) => [name.split("/").pop(), bytes instanceof Blob ? bytes : new Blob([bytes])]);
}

// Brings a model from another host through keeper.js, a worker that lives as long as the download.
function bring(base, source, { keep, progress, signal }) {
  const worker = new Worker(new URL("keeper.js", base), { type: "module" });
  const tell = (id, json) => worker.postMessage({ id, json: JSON.stringify(json), files: [] });
  const whole = new Promise((resolve, reject) => {
    const fail = (code, message) => reject(Object.assign(new Error(message), { code }));
    worker.onerror = ({ message }) => fail("worker", `the worker that fetches models stopped: ${message}`);
    worker.onmessage = ({ data: { json, files } }) => {
      const said = JSON.parse(json);
      if (said.say === "progress") progress(said.bytes, said.total);
      if (said.say === "sample") tell(2, { ask: "go", of: 1 });
      if (said.say === "problem") fail(said.code, said.message);
      if (said.say === "done") resolve({ name: said.model, files: said.names.map((name, at) => [name, files[at]]) });
    };
    signal?.addEventListener("abort", () => tell(2, { ask: "stop", of: 1 }));
    tell(1, { ask: "fetch", source, keep });
  });
  return whole.finally(() => worker.terminate());
}

/** An engine that is ready. */
export class Engine {
  #line;
  #choice;
  /** What computes: tier, adapter, self-check. */
  facts = null;
  /** Sizes of the model. */
  model = null;

  constructor(line, choice) {
    this.#line = line;
    this.#choice = choice;
  }

  /**
   * Loads another model: the id of a shipped one; `owner/name` on Hugging Face or an address; a list of files; or an object
   * with bytes (or blobs) by file name. The old model is gone even if the new one is refused.
   */
  async loadModel(model, { keep = false, progress = () => {}, signal } = {}) {
    signal?.throwIfAborted();
    const engine = this.#choice;
    let [name, files] = [model, filesOf(model)];
    if (files) name = files.map(([name]) => name).find((name) => name.endsWith(".bin") && !name.startsWith("tok"))?.replace(/\.bin$/, "") ?? "model";
    else if (/[/:]/.test(model)) ({ name, files } = await bring(this.#line.base, model, { keep, progress, signal }));
    const opened = files
      ? this.#line.call({ command: "open_files", model: name, names: files.map(([name]) => name), engine }, progress, files.map(([, blob]) => blob))
      : this.#line.call({ command: "open", model, base: this.#line.base, engine }, progress);
    const { reply } = await opened;
    [this.facts, this.model] = [reply.engine, reply.model];
    return this.model;
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

  /**
   * Activations of one pane by hook name, `*` for every layer: `capture(experiment, ["blocks.*.attn.hook_z", "logits"])`.
   * The key is the full name; the axes are those of TransformerLens, heads before positions.
   */
  async capture(experiment, hooks, { pane = 0 } = {}) {
    const { reply, buffers } = await this.#line.call({ command: "capture", experiment, pane, hooks: [hooks].flat().join(",") });
    return Object.fromEntries(reply.arrays.map(([name, shape], index) => [name, { shape, data: buffers[index] }]));
  }

  /** Head roles of one pane, from probes. */
  async roles(experiment, pane = 0) {
    return (await this.#line.call({ command: "roles", experiment, pane })).reply.report;
  }

  /** Continues the prompt; `experiment.draw` says how. Leaving the loop ends it, and so does `signal`, with an AbortError. */
  async *generate(experiment, { pane = 0, most = 8, signal } = {}) {
    signal?.throwIfAborted();
    await this.#line.call({ command: "begin", experiment, pane });
    let left = experiment.draw?.tokens ?? 48;
    while (left > 0) {
      signal?.throwIfAborted();
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

  async call(command, progress = () => {}, files = []) {
    if (!this.#worker) throw superseded();
    const id = ++this.#lastId;
    const answer = new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject, progress }));
    // Until it listens, the worker is not spoken to; its end ends the waiting.
    this.#listens.then(() => this.#worker?.postMessage({ id, json: JSON.stringify(command), buffers: [], files }));
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
