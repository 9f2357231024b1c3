// The engine without the page: a plain HTML page of the same origin, and the numbers of the command line.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { test, expect } from "@playwright/test";

const EXPERIMENT = {
  prompt: "The old fox sat by the river.",
  panes: [{ stack: [{ id: "softmax" }] }, { stack: [{ id: "streaming_window", values: { sinks: 0, window: 4 } }, { id: "softmax" }] }],
};

test.beforeEach(async ({ page, baseURL }) => {
  // A plain page beside the bundle; it brings no content policy of its own.
  await page.route("**/plain.html", (route) => route.fulfill({ contentType: "text/html", body: "<!doctype html><title>Plain</title>" }));
  await page.goto(new URL("plain.html", baseURL).href);
  await page.evaluate(async () => {
    const { open } = await import("./package/attnscope.js");
    const seen = [];
    window.engine = await open({ progress: (bytes, total) => seen.push([bytes, total]) });
    window.seen = seen;
  });
});

test("runs an experiment, gives typed arrays, and agrees with the command line", async ({ page }) => {
  const facts = await page.evaluate(() => ({ model: engine.model, check: engine.facts.self_check, seen }));
  expect(facts.model.id).toBe("stories-3m");
  expect(facts.check).toBeLessThan(5e-3);
  const bytes = facts.seen.map(([bytes]) => bytes);
  expect(bytes.at(-1)).toBe(facts.seen.at(-1)[1]);
  expect([...bytes].sort((a, b) => a - b)).toEqual(bytes);

  const result = await page.evaluate(async (experiment) => {
    const outcome = await engine.run(experiment);
    const { shape, data } = outcome.panes[0].arrays.pattern;
    const head = await engine.head(0, 1, 2);
    const size = shape[2] * shape[3];
    const same = data.subarray((1 * shape[1] + 2) * size, (1 * shape[1] + 3) * size);
    const worst = Math.max(...same.map((value, at) => (Number.isNaN(value) ? 0 : Math.abs(value - head.pattern.data[at]))));
    const sum = data.reduce((sum, value) => sum + (Number.isNaN(value) ? 0 : value), 0);
    return { typed: data instanceof Float32Array, shape, sum, worst, kl: outcome.panes[1].versus_a.kl_next, loss: outcome.panes[0].loss };
  }, EXPERIMENT);
  expect(result.typed).toBe(true);
  // Every row of every head sums to one.
  expect(result.sum).toBeCloseTo(result.shape[0] * result.shape[1] * result.shape[2], 1);
  expect(result.worst).toBeLessThan(1e-5);
  const cli = process.env.ATTNSCOPE_CLI;
  if (cli) {
    const outcome = JSON.parse(execFileSync(cli, ["run", "-"], { input: JSON.stringify(EXPERIMENT), cwd: new URL("../../..", import.meta.url), maxBuffer: 1 << 28 }));
    expect(result.kl).toBeCloseTo(outcome.panes[1].versus_a.kl_next, 4);
    expect(result.loss).toBeCloseTo(outcome.panes[0].loss, 4);
  }
});

test("generates as an async iterator that can be left, checks laws, names mechanisms", async ({ page }) => {
  const all = await page.evaluate(async () => {
    const bursts = [];
    for await (const burst of engine.generate({ prompt: "One day, a little girl", draw: { tokens: 12 } }, { most: 5 })) bursts.push(burst);
    return bursts;
  });
  expect(all.flatMap((burst) => burst.tokens)).toHaveLength(12);
  expect(all.at(-1).text.startsWith(all[0].text)).toBe(true);
  const left = await page.evaluate(async () => {
    for await (const burst of engine.generate({ prompt: "One day, a little girl", draw: { tokens: 12 } }, { most: 2 })) return burst.text;
  });
  expect(all.at(-1).text.startsWith(left)).toBe(true);
  const laws = await page.evaluate(() => engine.check("softmax"));
  expect(laws.length).toBeGreaterThan(0);
  expect(laws.every((law) => law.holds)).toBe(true);
  expect((await page.evaluate(() => engine.mechanisms())).map((each) => each.id)).toContain("alibi");
});

test("what fails says so: unknown mechanism, unknown model, after the end", async ({ page }) => {
  const refused = (body) => page.evaluate(`(async () => { try { await (${body}); return null; } catch (problem) { return [problem.code, problem.message]; } })()`);
  expect(await refused(`engine.run({ panes: [{ stack: [{ id: "no_such_thing" }] }] })`)).toEqual(["unknown", expect.stringContaining("no_such_thing")]);
  expect(await refused(`engine.run({ colour: "red" })`)).toEqual(["parse", expect.stringContaining("colour")]);
  expect((await refused(`import("./package/attnscope.js").then(({ open }) => open({ model: "nobody" }))`))[0]).toBe("file");
  expect(await refused(`engine.run({})`)).toBeNull();
  const ended = await refused(`(() => { const running = engine.run({}); engine.dispose(); return running; })()`);
  expect(ended).toEqual(["superseded", "the engine was disposed of"]);
  expect((await refused(`engine.run({})`))[0]).toBe("superseded");
});

test("activations come by hook name, equal to the maps and the logits of the run", async ({ page }) => {
  const seen = await page.evaluate(async () => {
    const experiment = { prompt: "The old fox sat by the river." };
    const { panes, model } = await engine.run(experiment);
    const captured = await engine.capture(experiment, ["blocks.*.attn.hook_pattern", "blocks.1.hook_resid_post", "logits"]);
    const logits = captured.logits;
    const width = logits.shape.at(-1);
    const last = logits.data.subarray(logits.data.length - width);
    const worst = Math.max(...last.map((logit, at) => Math.abs(logit - panes[0].logits[at])));
    const size = captured["blocks.1.attn.hook_pattern"].data.length;
    const stored = panes[0].arrays.pattern.data.subarray(size, 2 * size);
    const off = Math.max(...captured["blocks.1.attn.hook_pattern"].data.map((weight, at) => (Number.isNaN(stored[at]) ? 0 : Math.abs(weight - stored[at]))));
    return { names: Object.keys(captured), layers: model.layers, shape: captured["blocks.1.hook_resid_post"].shape, width: model.width, worst, off };
  });
  expect(seen.names).toHaveLength(seen.layers + 2);
  expect(seen.shape.at(-1)).toBe(seen.width);
  expect(seen.worst).toBeLessThan(1e-4);
  expect(seen.off).toBeLessThan(1e-5);
});

test("a signal ends a continuation, and a model that is refused says why", async ({ page }) => {
  const ended = await page.evaluate(async () => {
    const stop = new AbortController();
    const texts = [];
    try {
      for await (const burst of engine.generate({ prompt: "One day", draw: { tokens: 40 } }, { most: 2, signal: stop.signal })) {
        texts.push(burst.text);
        stop.abort();
      }
    } catch (problem) {
      return [texts.length, problem.name];
    }
  });
  expect(ended).toEqual([1, "AbortError"]);
  const refused = (model) => page.evaluate((model) => engine.loadModel(model).then(() => null, ({ code, message }) => [code, message]), model);
  expect(await refused("not an address/at all")).toEqual(["parse", expect.stringContaining("owner/name")]);
  expect(await refused(new URL("papers/", page.url()).href)).toEqual(["file", expect.stringContaining("config.json")]);
  const bytes = await page.evaluate(() => engine.loadModel({ "config.json": new TextEncoder().encode('{"model_type": "mamba"}') }).then(() => null, ({ code, message }) => [code, message]));
  expect(bytes).toEqual(["unsupported", expect.stringContaining("mamba")]);
});

const readme = readFileSync(new URL("../../../www/package/README.md", import.meta.url), "utf8");
const examples = [...readme.matchAll(/```js\n([^]*?)```/g)].map(([, code]) => code);
for (const [index, example] of examples.entries()) {
  test(`example ${index + 1} of the README runs as it stands`, async ({ page, baseURL }) => {
    const [lines, failures] = [[], []];
    page.on("console", (line) => (line.type() === "error" ? failures : lines).push(line.text()));
    page.on("pageerror", (error) => failures.push(error.message));
    // The bundle lies in a folder beside the page, as the README says.
    await page.route("**/attnscope/**", async (route) => {
      const address = route.request().url().replace("/attnscope/", "/");
      await route.fulfill({ response: await route.fetch({ url: address }) });
    });
    await page.route("**/example.js", (route) => route.fulfill({ contentType: "text/javascript", body: `${example}\nconsole.log("the end");` }));
    await page.evaluate((base) => {
      const script = Object.assign(document.createElement("script"), { type: "module", src: `${base}example.js` });
      document.head.append(script);
    }, baseURL);
    await expect.poll(() => lines.at(-1) ?? failures.join(), { timeout: 90_000 }).toBe("the end");
    expect(failures).toEqual([]);
    expect(lines.length).toBeGreaterThan(4);
  });
}

test("a GPUDevice cannot be given to a worker, so none of the host's is used", async ({ page }) => {
  const name = await page.evaluate(async () => {
    const device = await (await navigator.gpu.requestAdapter()).requestDevice();
    try {
      new MessageChannel().port1.postMessage(device);
    } catch (problem) {
      return problem.name;
    }
  });
  expect(name).toBe("DataCloneError");
});
