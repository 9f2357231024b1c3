// The main job: type a prompt, compare two variants, read numbers that equal the command line's.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, expect } from "../pages/test.js";

const MODEL = JSON.parse(readFileSync(new URL("../../../www/models/stories-3m/config.json", import.meta.url), "utf8"));
const PROMPT = "The old fox sat by the river and said that he was not hungry.";
const EXPERIMENT = {
  version: 1,
  model: "stories-3m",
  prompt: PROMPT,
  bos: true,
  panes: [
    { stack: [{ id: "softmax", values: {} }] },
    { stack: [{ id: "streaming_window", values: { sinks: 1, window: 4 } }, { id: "softmax", values: {} }] },
  ],
};
const HASH = `v=1&m=stories-3m&p=${encodeURIComponent(PROMPT)}&a=softmax&b=streaming_window(sinks:1,window:4),softmax`;

// What the command line says of the same experiment; it is built by `cargo task test` before the browser starts.
function commandLine(experiment) {
  const file = join(mkdtempSync(join(tmpdir(), "attnscope-")), "experiment.json");
  writeFileSync(file, JSON.stringify(experiment));
  const cli = process.env.ATTNSCOPE_CLI;
  expect(cli, "ATTNSCOPE_CLI names the attnscope binary; cargo task test sets it").toBeTruthy();
  return JSON.parse(execFileSync(cli, ["run", file, "--engine", "cpu"], { cwd: "../..", encoding: "utf8", maxBuffer: 1 << 26 }));
}

test("a finished example stands there before the visitor does anything", async ({ playground, page }) => {
  await playground.open();
  await expect(playground.heads).toHaveCount(MODEL.num_hidden_layers * MODEL.num_attention_heads);
  expect(await playground.tokens.count()).toBeGreaterThan(5);
  for (const word of ["a", "b"]) {
    const candidates = await playground.candidates(word);
    expect(candidates.length).toBeGreaterThanOrEqual(10);
    expect(candidates.every((candidate) => candidate.probability > 0 && candidate.probability <= 1)).toBe(true);
  }
  expect(await playground.number(playground.difference, "data-kl")).toBeGreaterThan(0);
  expect(await page.locator("*").count()).toBeLessThan(3000);
});

test("a typed prompt runs through softmax and streaming window", async ({ playground }) => {
  await playground.open();
  const before = await playground.candidates("a");
  await playground.type("Mother gave the boy a red apple and the boy said thank you");
  expect(await playground.candidates("a")).not.toEqual(before);
  await expect(playground.pane("b").getByTestId("pane-name")).toContainText(/window/i);
  // Rows of the pinned head sum to one in A: their sum is the number of tokens.
  const tokens = await playground.number(playground.matrix("a"), "data-tokens");
  expect(await playground.number(playground.matrix("a"), "data-sum")).toBeCloseTo(tokens, 2);
});

for (const engine of ["auto", "gpu"]) {
  test(`numbers equal the command line's, engine ${engine}`, async ({ playground }) => {
    const expected = commandLine(EXPERIMENT);
    await playground.open(HASH, engine === "auto" ? "" : `?engine=${engine}`);
    if (engine === "gpu") {
      await expect(playground.engine).toHaveAttribute("data-tier", /webgpu/);
      expect(await playground.number(playground.engine, "data-self-check")).toBeLessThan(1e-3);
    }
    const ids = await playground.tokens.evaluateAll((chips) => chips.map((chip) => Number(chip.dataset.tokenId)));
    const expectedIds = expected.tokens.map((token) => token.id);
    // The BOS chip may stand apart from the tokens.
    expect(ids.slice(-expectedIds.length + 1)).toEqual(expectedIds.slice(1));
    for (const [index, word] of ["a", "b"].entries()) {
      const pane = expected.panes[index];
      expect(await playground.number(playground.pane(word), "data-loss")).toBeCloseTo(pane.loss, 3);
      for (const candidate of await playground.candidates(word)) {
        const largest = Math.max(...pane.logits);
        const total = pane.logits.reduce((sum, logit) => sum + Math.exp(logit - largest), 0);
        expect(candidate.probability).toBeCloseTo(Math.exp(pane.logits[candidate.id] - largest) / total, 4);
      }
    }
    expect(await playground.number(playground.difference, "data-kl")).toBeCloseTo(expected.panes[1].versus_a.kl_next, 3);
    expect(await playground.number(playground.difference, "data-delta-loss")).toBeCloseTo(expected.panes[1].versus_a.delta_loss, 3);
  });
}

test("the engine badge says what computes and why", async ({ playground }, info) => {
  await playground.open();
  await expect(playground.engine).toHaveAttribute("data-tier", "cpu");
  await playground.engine.click();
  const reason = playground.page.getByTestId("reason");
  await expect(reason).toContainText(info.project.name === "cpu" ? /WebGPU|secure/i : /software/i);
});

test("a prompt beyond the context is cut with a notice; an empty one is refused in words", async ({ playground, page }) => {
  await playground.open();
  await playground.type("once upon a time there was a cat. ".repeat(120));
  await expect(page.getByTestId("notice")).toContainText(/512|context/i);
  await expect(playground.tokens.first()).toBeVisible();
  await expect(playground.heads.first()).toHaveAttribute("data-value", /./);
});
