// A seeded run of random actions with invariants checked after each: prompts, mechanisms, parameters, models, texts,
// cancels, lost devices, exceptions, reloads. ATTNSCOPE_SOAK_SECONDS and ATTNSCOPE_SOAK_SEED choose another length and
// another run; `cargo task reliability --soak 3600` makes the long one.
import { readFileSync } from "node:fs";
import { test as base, expect } from "@playwright/test";
import { Playground } from "../pages/playground.js";
import { inject, order, record, truth, worker } from "../pages/faults.js";

const test = base.extend({ playground: async ({ page }, use) => use(new Playground(page)) });

const SECONDS = Number(process.env.ATTNSCOPE_SOAK_SECONDS ?? 120);
const SEED = Number(process.env.ATTNSCOPE_SOAK_SEED ?? 20261124);
const MECHANISMS = JSON.parse(readFileSync(new URL("../../../www/mechanisms.json", import.meta.url), "utf8"));
const MODELS = ["stories-3m", "circuits-2m"];
const WORDS = "the old fox sat by a river and said that he was not hungry once upon time there little girl who liked to play with her red ball".split(" ");

// mulberry32
function random(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

test(`${SECONDS} seconds of anything, seed ${SEED}`, async ({ playground, page }) => {
  test.setTimeout(SECONDS * 1000 + 300_000);
  const next = random(SEED);
  const below = (count) => Math.floor(next() * count);
  const pick = (list) => list[below(list.length)];
  const errors = [];
  page.on("pageerror", (error) => errors.push(error.message));
  // A software GPU takes seconds for what the processor does at once, so only every third engine has one.
  await inject(page, (start) => ({ hardware: start % 3 === 2 }));

  const state = { model: MODELS[0], prompt: "once upon a time", a: "softmax", b: "alibi,softmax", seed: 0 };
  const hash = () => `v=1&m=${state.model}&p=${encodeURIComponent(state.prompt)}&a=${state.a}&b=${state.b}&seed=${state.seed}&n=12`;
  const value = (param) => {
    if (param.kind === "choice") return pick(param.words);
    if (param.kind === "flag") return pick(["true", "false"]);
    const step = param.step || (param.max - param.min) / 16;
    const steps = below(Math.floor((param.max - param.min) / step) + 1);
    return Number(Math.min(param.max, param.min + step * steps).toFixed(6));
  };
  const chip = (entry) => `${entry.id}(${entry.params.map((param) => `${param.key}:${value(param)}`).join(",")})`;
  const words = () => Array.from({ length: 1 + below(60) }, () => pick(WORDS)).join(" ");

  const counts = {};
  const facts = { checked: 0, worst: 0, refused: 0, buffers: 0, engine: 0, generations: 0, gpu: 0 };
  const go = () => page.evaluate((hash) => void (location.hash = hash), hash());
  const actions = {
    "another prompt": async () => { state.prompt = words(); await go(); },
    "another mechanism": async () => { state.b = chip(pick(MECHANISMS)); await go(); },
    "other parameters": async () => { state.a = chip(MECHANISMS.find((entry) => entry.id === "softmax")); state.seed = below(1000); await go(); },
    "another model": async () => { state.model = pick(MODELS); await go(); },
    "three changes at once": async () => {
      for (let i = 0; i < 3; i++) { state.prompt = words(); await go(); await page.waitForTimeout(below(60)); }
    },
    "a text is written": async () => { await page.getByTestId("write-go").click(); await page.waitForTimeout(below(900)); },
    "a text is written and cancelled by a prompt": async () => {
      await page.getByTestId("write-go").click();
      await page.waitForTimeout(below(300));
      state.prompt = words();
      await go();
    },
    "the device is lost": async () => worker(page)?.evaluate(() => self.fault.destroy()),
    "the device is lost in a run": async () => { await order(page, { lose: [[pick(["submit", "read"]), 1 + below(2)]] }); state.prompt = words(); await go(); },
    "an exception in the engine": async () => { await order(page, { throws: true }); state.prompt = words(); await go(); },
    "reload": async () => page.reload(),
    "back": async () => { await page.goBack().catch(() => {}); },
  };
  // Rare ones are rare.
  const names = Object.keys(actions).flatMap((name) => Array(/lost|exception|again|another model/.test(name) ? 1 : 3).fill(name));

  await playground.open(hash());
  const begin = Date.now();
  while (Date.now() - begin < SECONDS * 1000) {
    const name = pick(names);
    counts[name] = (counts[name] ?? 0) + 1;
    const at = `action ${Object.values(counts).reduce((sum, count) => sum + count)}: ${name}, ${hash()}`;
    await actions[name]();
    await page.waitForTimeout(50);
    // The engine answers or says that it cannot; nothing hangs.
    const trouble = page.getByTestId("engine-trouble");
    await expect(async () => {
      if (await trouble.isVisible()) await trouble.getByRole("button").click();
      await expect(playground.engine).toHaveAttribute("data-state", "ready", { timeout: 1000 });
      const settled = (await playground.work.getAttribute("data-stale")) === "false";
      const refused = (await page.locator(".notice.bad, .refusal").count()) > 0;
      expect(settled || refused, at).toBe(true);
    }).toPass({ timeout: 240_000 });
    expect(errors, at).toEqual([]);
    await expect(playground.engine, at).toHaveAttribute("data-passed", "true");
    if ((await playground.work.getAttribute("data-stale")) !== "false") {
      facts.refused += 1;
      continue;
    }
    for (const word of ["a", "b"]) {
      for (const { probability } of await playground.candidates(word)) expect(probability >= 0 && probability <= 1.0001, at).toBe(true);
    }
    const kl = await playground.number(playground.difference, "data-kl");
    expect(Number.isFinite(kl) && kl > -1e-4, `${at}: KL ${kl}`).toBe(true);
    facts.gpu += /webgpu/.test(await playground.engine.getAttribute("data-tier")) ? 1 : 0;
    facts.generations = Math.max(facts.generations, Number(await playground.engine.getAttribute("data-generation")));
    const held = await worker(page)?.evaluate(() => [self.fault.live.size, self.memories.reduce((sum, memory) => sum + memory.buffer.byteLength, 0)]).catch(() => [0, 0]);
    facts.buffers = Math.max(facts.buffers, held?.[0] ?? 0);
    facts.engine = Math.max(facts.engine, held?.[1] ?? 0);
    expect(facts.buffers, at).toBeLessThan(2500);
    expect(facts.engine, at).toBeLessThan(700 * 2 ** 20);
    // Every few actions the numbers are those of the command line.
    if (facts.checked * 8 < Object.values(counts).reduce((sum, count) => sum + count)) {
      const shown = playground.hash();
      const expected = truth(shown);
      for (const [index, word] of ["a", "b"].entries()) {
        const loss = await playground.number(playground.pane(word), "data-loss");
        const difference = Math.abs((loss ?? 0) - (expected.panes[index].loss ?? 0));
        facts.worst = Math.max(facts.worst, difference);
        expect(difference, `${at}: loss of ${word}, ${shown}`).toBeLessThan(5e-3);
      }
      facts.checked += 1;
    }
  }
  const total = Object.values(counts).reduce((sum, count) => sum + count);
  expect(total).toBeGreaterThan(SECONDS / 40);
  expect(facts.checked).toBeGreaterThan(0);
  const lines = Object.entries(counts).sort().map(([name, count]) => [name, String(count)]);
  const summary = [
    ["actions in all", String(total)],
    ["of them answered by the GPU", String(facts.gpu)],
    ["seconds, seed", `${SECONDS}, ${SEED}`],
    ["experiments refused in words", String(facts.refused)],
    ["experiments compared with the command line, largest difference of a loss", `${facts.checked}, ${facts.worst.toExponential(1)} nats`],
    ["most devices opened anew by one engine", String(facts.generations)],
    ["most live GPU buffers", String(facts.buffers)],
    ["most memory of the engine", `${(facts.engine / 2 ** 20).toFixed(0)} MiB`],
    ["errors of the page, wrong numbers, hangs", "0"],
  ];
  console.log([...lines, ...summary].map(([name, found]) => `soak: ${name}: ${found}`).join("\n"));
  record("soak", {
    title: "Soak",
    text: "Random actions under a seed in headless Chromium, with a device that is lost and an engine that dies among them. After each the engine must answer or refuse in words, probabilities and KL be in their ranges, the self-check hold, buffers and memory stay bounded.",
    columns: ["What", "Count"],
    rows: [...lines, ...summary],
  });
});
