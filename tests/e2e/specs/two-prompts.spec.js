// Two prompts side by side: B reads a text of its own, tokens are aligned, and only what both have is compared.
import { execFileSync } from "node:child_process";
import { Export, csv } from "../pages/export.js";
import { test, expect } from "../pages/test.js";

const CLEAN = "Tom saw Ann. Ann gave Tom a red ball.";
const OTHER = "Tom saw Ann. Ann gave Ben a red ball.";
const LONGER = "Tom saw Ann. Then Ann gave Ben a red ball.";
const LINK = `v=1&m=stories-3m&p=${encodeURIComponent(CLEAN)}&pb=${encodeURIComponent(OTHER)}&a=softmax&b=softmax`;

const sum = (values) => values.reduce((sum, value) => sum + value, 0);

test("a second prompt: in link, undo and numbers", async ({ playground, page }) => {
  await playground.open(`v=1&m=stories-3m&p=${encodeURIComponent(CLEAN)}&a=softmax&b=softmax`);
  await expect(playground.difference).toHaveAttribute("data-kl", "0");
  await page.getByTestId("add-prompt").click();
  const own = page.getByTestId("prompt-b");
  await expect(own).toHaveValue(CLEAN);
  await playground.rerun(async () => {
    await own.fill(OTHER);
    await own.press("Enter");
  });
  await expect(page.getByTestId("token-b").first()).toBeVisible();
  expect(decodeURIComponent(playground.hash())).toContain(`pb=${OTHER}`);
  const kl = await playground.number(playground.difference, "data-kl");
  expect(kl).toBeGreaterThan(0.01);
  // Each pane's loss is that of its own text, as the command line has it.
  const cli = process.env.ATTNSCOPE_CLI;
  if (cli) {
    const loss = (prompt) => {
      const input = JSON.stringify({ prompt, panes: [{ stack: [{ id: "softmax" }] }] });
      return JSON.parse(execFileSync(cli, ["run", "-"], { input, cwd: new URL("../../..", import.meta.url), maxBuffer: 1 << 28 })).panes[0].loss;
    };
    expect(await playground.number(playground.pane("a"), "data-loss")).toBeCloseTo(loss(CLEAN), 4);
    expect(await playground.number(playground.pane("b"), "data-loss")).toBeCloseTo(loss(OTHER), 4);
  }
  await page.reload();
  await playground.settled();
  expect(await playground.number(playground.difference, "data-kl")).toBeCloseTo(kl, 5);
  await playground.rerun(() => page.getByTestId("remove-prompt").click());
  await expect(playground.difference).toHaveAttribute("data-kl", "0");
  await playground.rerun(() => page.goBack());
  await expect(own).toHaveValue(OTHER);
});

test("tokens that differ are marked, and maps are linked through the alignment", async ({ playground, page }) => {
  await playground.open(LINK.replace(encodeURIComponent(OTHER), encodeURIComponent(LONGER)));
  const chips = page.getByTestId("token-b");
  const states = await chips.evaluateAll((all) => all.map((chip) => [chip.dataset.aligned, chip.dataset.place === undefined ? null : Number(chip.dataset.place)]));
  const tokens = await playground.tokens.count();
  expect(states.length).toBe(tokens + 1);
  const alone = states.findIndex(([state]) => state === "alone");
  const other = states.findIndex(([state]) => state === "other");
  expect(states.filter(([state]) => state === "alone")).toHaveLength(1);
  expect(states.filter(([state]) => state === "other")).toHaveLength(1);
  // Behind the token that was put in, places are shifted by one.
  expect(states.at(-1)).toEqual(["same", tokens - 1]);
  expect(other).toBeGreaterThan(alone);
  await expect(playground.matrix("a")).toHaveAttribute("data-tokens", String(tokens));
  await expect(playground.matrix("b")).toHaveAttribute("data-tokens", String(tokens + 1));

  // A pair is pinned in A's places and read in B's.
  await page.locator(`[data-test=token][data-position='${tokens - 1}']`).click();
  await page.locator(`[data-test=token][data-position='${tokens - 3}']`).click();
  await page.mouse.move(2, 2);
  await expect(playground.matrix("a")).toHaveAttribute("data-query", String(tokens - 1));
  await expect(playground.matrix("b")).toHaveAttribute("data-query", String(tokens));
  await expect(playground.matrix("b")).toHaveAttribute("data-key", String(tokens - 2));
  const [a, b, d] = await Promise.all(["a", "b", "d"].map((word) => playground.number(playground.matrix(word), "data-value")));
  expect(d).toBeCloseTo(a - b, 5);
  // And from B's chips.
  await chips.nth(other).click();
  await page.mouse.move(2, 2);
  await expect(playground.matrix("b")).toHaveAttribute("data-query", String(other));
  await expect(playground.matrix("a")).toHaveAttribute("data-query", String(other - 1));
  // The token that A has not stands at no place of A.
  await expect(chips.nth(alone)).toBeDisabled();
});

test("the difference is of aligned pairs only, on screen and in every export", async ({ playground, page }) => {
  await playground.open(LINK.replace(encodeURIComponent(OTHER), encodeURIComponent(LONGER)));
  const wares = new Export(page);
  await wares.open();
  const rows = csv((await wares.file("matrices-csv")).bytes.toString());
  const names = Object.keys(rows[0]).filter((name) => !name.startsWith("query") && !name.startsWith("key"));
  const numbers = rows.map((row) => names.map((name) => (row[name] === "" ? NaN : Number(row[name]))));
  const both = numbers.filter(([a, b]) => !Number.isNaN(a) && !Number.isNaN(b));
  for (const [a, b, d] of both) expect(d).toBeCloseTo(a - b, 5);
  const sums = sum(numbers.map(([, , d]) => Math.abs(d)).filter((value) => !Number.isNaN(value)));
  expect(sums).toBeCloseTo(await playground.number(playground.matrix("d"), "data-sum"), 2);
  expect(numbers.some(([a, b]) => !Number.isNaN(a) && Number.isNaN(b))).toBe(false);
});

test("the mean difference of losses is over tokens that both texts have", async ({ playground, page }) => {
  await playground.open(LINK);
  await expect(playground.difference).toContainText("tokens both have");
  const delta = await playground.number(playground.difference, "data-delta-loss");
  expect(Math.abs(delta)).toBeGreaterThan(0);
  expect(Math.abs(delta)).toBeLessThan(2);
  await expect(page.getByTestId("loss-readout")).not.toBeEmpty();
});
