// Faults on purpose. What stands between the engine's worker and `navigator.gpu` here does what no real device can be
// asked to do; the program itself knows nothing of it.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { execFileSync } from "node:child_process";

// Runs inside the worker before the engine starts. `plan` says what is wrong from the beginning; `self.fault` takes
// orders later on, through Playwright's hold on the worker.
function shim(plan) {
  const gpu = globalThis.GPUDevice;
  const state = (self.fault = { live: new Set(), peak: 0, submits: 0, devices: [], lose: [...(plan.lose ?? [])], ...plan.later });
  const wrap = (prototype, name, make) => {
    const original = prototype?.[name];
    if (original) prototype[name] = make(original);
  };
  const scope = (key, value) => Object.defineProperty(self, key, { value, configurable: true });
  if (plan.insecure) scope("isSecureContext", false);
  if (plan.insecure || plan.noGpu) Object.defineProperty(WorkerNavigator.prototype, "gpu", { get: () => undefined });
  if (!gpu) return;
  if (plan.hardware !== false) {
    // A software adapter passes for a real one, so that the page chooses it by itself; and, until the engine has said what
    // it runs on, for a fast one: the clock stands while the GPU works, unless the plan calls it slow.
    Object.defineProperty(GPUAdapterInfo.prototype, "isFallbackAdapter", { get: () => false });
    const now = Performance.prototype.now;
    let hidden = 0;
    Performance.prototype.now = function () {
      return now.call(this) - hidden;
    };
    state.answered = (since) => {
      if (!state.opened && !plan.slow) hidden += performance.now() - since;
    };
    const post = self.postMessage;
    self.postMessage = (...given) => {
      if (given[0]?.json?.startsWith('{"reply":"opened"')) state.opened = true;
      return post.apply(self, given);
    };
    self.addEventListener("message", ({ data }) => {
      if (data?.json?.startsWith('{"command":"open')) state.opened = false;
    });
  }
  wrap(GPU.prototype, "requestAdapter", (original) => async function (...given) {
    if (state.noAdapter) return null;
    if (plan.adapterThrows) throw new DOMException("no adapter today", "OperationError");
    const adapter = await original.apply(this, given);
    if (plan.limits) {
      const limits = {};
      for (const key in adapter.limits) limits[key] = adapter.limits[key];
      Object.defineProperty(adapter, "limits", { value: { ...limits, ...plan.limits } });
    }
    // Subgroups would be tried beside the plain way, and a software adapter compiles kernels for hardware slowly.
    const features = plan.features ?? [...adapter.features].filter((feature) => feature !== "subgroups");
    Object.defineProperty(adapter, "features", { value: new Set(features) });
    return adapter;
  });
  wrap(GPUAdapter.prototype, "requestDevice", (original) => async function (...given) {
    if (plan.noDevice) throw new DOMException("the device is refused", "OperationError");
    const device = await original.apply(this, given);
    state.devices.push(device);
    return device;
  });
  // The device is destroyed when `at` has happened so many times.
  const reached = (at) => {
    const next = state.lose[state.lose.length - 1];
    if (next?.[0] !== at || --next[1] > 0) return;
    state.lose.pop();
    state.destroy();
  };
  state.destroy = () => state.devices.at(-1)?.destroy();
  wrap(gpu.prototype, "createBuffer", (original) => function (...given) {
    const buffer = original.apply(this, given);
    buffer.owner = this;
    state.live.add(buffer);
    state.peak = Math.max(state.peak, state.live.size);
    return buffer;
  });
  wrap(GPUBuffer.prototype, "destroy", (original) => function () {
    state.live.delete(this);
    return original.call(this);
  });
  wrap(gpu.prototype, "destroy", (original) => function () {
    for (const buffer of state.live) if (buffer.owner === this) state.live.delete(buffer);
    return original.call(this);
  });
  wrap(GPUQueue.prototype, "writeBuffer", (original) => function (...given) {
    original.apply(this, given);
    reached("upload");
  });
  wrap(GPUQueue.prototype, "submit", (original) => function (...given) {
    if (state.throws) {
      state.throws = false;
      throw new Error("an exception in the middle of the engine");
    }
    original.apply(this, given);
    state.submits += 1;
    reached("submit");
  });
  wrap(GPUBuffer.prototype, "mapAsync", (original) => function (...given) {
    if (state.hangs) return new Promise(() => {});
    const asked = performance.now();
    const mapped = original.apply(this, given);
    reached("read");
    return mapped.finally(() => state.answered?.(asked));
  });
  const scopes = [];
  wrap(gpu.prototype, "pushErrorScope", (original) => function (filter) {
    scopes.push(filter);
    return original.call(this, filter);
  });
  wrap(gpu.prototype, "popErrorScope", (original) => function () {
    const filter = scopes.pop();
    const popped = original.call(this);
    if (state.outOfMemory && filter === "out-of-memory") return popped.then(() => new GPUOutOfMemoryError("not enough memory"));
    return popped;
  });
  wrap(gpu.prototype, "createShaderModule", (original) => function (description) {
    const [from, to] = state.replace ?? [];
    return original.call(this, from ? { ...description, code: description.code.replaceAll(from, to) } : description);
  });
}

// Counts the bytes of every WebAssembly memory of its realm; for the page and the worker.
function weigh() {
  const memories = (self.memories = []);
  for (const name of ["instantiate", "instantiateStreaming"]) {
    const original = WebAssembly[name];
    WebAssembly[name] = async (...given) => {
      const made = await original.apply(WebAssembly, given);
      memories.push((made.instance ?? made).exports.memory);
      return made;
    };
  }
}

// Gives every worker of the page the shim; `plan` is asked when one starts.
export async function inject(page, plan) {
  await page.addInitScript(weigh);
  const started = { count: 0 };
  await page.route("**/worker_loader.js", async (route) => {
    const response = await route.fetch();
    const now = typeof plan === "function" ? plan(started.count) : plan;
    started.count += 1;
    await route.fulfill({ response, body: `(${weigh})();(${shim})(${JSON.stringify(now)});\n${await response.text()}` });
  });
  return started;
}

// The engine's worker; the newest when it was replaced.
export const worker = (page) => page.workers().at(-1);

// Changes what is wrong in the worker.
export const order = (page, change) => worker(page).evaluate((change) => void Object.assign(self.fault, change), change);

// What the command line computes of the same experiment on the processor.
export function truth(hash) {
  const output = execFileSync(process.env.ATTNSCOPE_CLI, ["run", `#${hash}`, "--engine", "cpu"], { cwd: "../..", encoding: "utf8", maxBuffer: 1 << 27 });
  return JSON.parse(output);
}

// Keeps a table for tests/RELIABILITY.md when asked to; `cargo task reliability` asks. Rows of an earlier run whose first
// cell is among `order` stay until they are found anew, so that a part of the tests can be repeated.
export function record(name, table, order) {
  if (process.env.ATTNSCOPE_RELIABILITY !== "write") return;
  const folder = new URL("../../reliability/", import.meta.url);
  const file = new URL(`${name}.json`, folder);
  mkdirSync(folder, { recursive: true });
  if (order) {
    const known = existsSync(file) ? JSON.parse(readFileSync(file, "utf8")).rows : [];
    const rows = new Map([...known, ...table.rows].map((row) => [row[0], row]));
    table = { ...table, rows: order.map((key) => rows.get(key)).filter(Boolean) };
  }
  writeFileSync(file, `${JSON.stringify(table, null, 1)}\n`);
}
