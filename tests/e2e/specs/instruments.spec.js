// Sinks, head roles and the matrix: what they show is computed from the run on screen.
import { test, expect } from "../pages/test.js";

test("sinks: three labelled views, the null of the uniform causal row, any position", async ({ playground, page }) => {
  await playground.open();
  const count = await playground.number(playground.matrix("a"), "data-tokens");
  // Mean over queries t = 1 … n-1 of 1/(t+1).
  const nothing = Array.from({ length: count - 1 }, (_, t) => 1 / (t + 2)).reduce((a, b) => a + b, 0) / (count - 1);
  const raw = page.getByTestId("sink-raw");
  expect(await playground.number(raw, "data-null")).toBeCloseTo(nothing, 4);
  expect(await playground.number(raw, "data-a")).toBeGreaterThan(0);
  await expect(page.getByTestId("sink-removed")).toBeVisible();
  await expect(page.getByTestId("sink-weighted")).toBeVisible();
  await page.getByTestId("sink-position").fill("3");
  await page.getByTestId("sink-position").press("Enter");
  await expect(raw).not.toHaveAttribute("data-null", String(nothing));
  expect(playground.hash()).toContain("pos=3");
});

test("norms at the examined position: one click, both panes, by layer and head, in the link", async ({ playground, page }) => {
  await playground.open();
  await page.getByTestId("norms-open").click();
  expect(playground.hash()).toContain("norms=1");
  const norms = page.getByTestId("norms");
  await expect(norms).toHaveAttribute("data-fresh", "true");
  const norm = (id) => norms.locator(`[data-test=norm][data-norm=${id}]`);
  for (const id of ["massive", "key", "value", "cosine", "others"]) await expect(norm(id)).toHaveAttribute("data-b", /\d/);
  // The shipped model reads its beginning with short keys and values.
  expect(await playground.number(norm("value"), "data-a")).toBeGreaterThan(0);
  await expect(norms.getByTestId("exhibit")).toHaveCount(3);
  const before = await norm("cosine").getAttribute("data-a");
  await page.getByTestId("sink-position").fill("4");
  await page.getByTestId("sink-position").press("Enter");
  await expect(norm("cosine")).not.toHaveAttribute("data-a", before);
  await page.reload();
  await playground.settled();
  await expect(norms).toHaveAttribute("data-fresh", "true");
  await page.getByTestId("norms-open").click();
  await expect(norms).toHaveCount(0);
  expect(playground.hash()).not.toContain("norms");
});

test("head roles come from probes, with the shuffled score beside them", async ({ playground, page }) => {
  await playground.open();
  await playground.tab("roles").click();
  const roles = page.getByTestId("role");
  await expect(roles).toHaveCount(9, { timeout: 60_000 });
  for (const role of await roles.all()) {
    expect(await playground.number(role, "data-false-positive-rate")).toBeLessThanOrEqual(1);
    const score = await playground.number(role.getByTestId("role-head").first(), "data-score");
    expect(score).toBeGreaterThanOrEqual(0);
    // Causal evidence stands beside every head, another one for another way to take it out.
    const head = role.getByTestId("role-head").first();
    for (const kind of ["data-prompt", "data-repeats"]) await expect(head).toHaveAttribute(kind, /\d/, { timeout: 60_000 });
  }
  const first = roles.first().getByTestId("role-head").first();
  const before = await first.getAttribute("data-repeats");
  await page.locator("[data-test=how][data-word=zero]").click();
  await expect(first).toHaveAttribute("data-repeats", /\d/);
  await expect(first).not.toHaveAttribute("data-repeats", before);
  expect(playground.hash()).toContain("how=zero");
});

test("hover is linked and exact, a click pins, and the sentence says the same", async ({ playground, page }) => {
  await playground.open();
  const canvas = playground.matrix("a").locator("canvas").first();
  await canvas.scrollIntoViewIfNeeded();
  const box = await canvas.boundingBox();
  await page.mouse.move(box.x + box.width * 0.05, box.y + box.height * 0.9);
  await expect(page.getByTestId("tip")).toBeVisible();
  const shown = await playground.matrix("b").getAttribute("data-query");
  expect(shown).toBe(await playground.matrix("a").getAttribute("data-query"));
  const a = await playground.number(playground.matrix("a"), "data-value");
  const b = await playground.number(playground.matrix("b"), "data-value");
  const d = await playground.number(playground.matrix("d"), "data-value");
  if (a !== null && b !== null && !Number.isNaN(b)) expect(d).toBeCloseTo(a - b, 5);
  await page.mouse.click(box.x + box.width * 0.05, box.y + box.height * 0.9);
  expect(playground.hash()).toContain(`q=${shown}`);
});

test("beyond 256 tokens a head's maps are recomputed when looked at", async ({ playground }) => {
  await playground.open();
  await playground.type("the cat sat on the mat and the dog ran. ".repeat(36));
  const tokens = await playground.number(playground.matrix("a"), "data-tokens");
  expect(tokens).toBeGreaterThan(256);
  await expect(playground.matrix("a")).toHaveAttribute("data-sum", /./, { timeout: 60_000 });
  expect(await playground.number(playground.matrix("a"), "data-sum")).toBeCloseTo(tokens, 1);
});
