// The bench: every mechanism of the catalogue gets a quote in one run, and the plot and the table say the same.
import { AxeBuilder } from "@axe-core/playwright";
import { test, expect } from "../pages/test.js";

test("every variant is measured beside softmax", async ({ page }) => {
  test.setTimeout(480_000);
  await page.goto("./bench?engine=cpu");
  const rows = page.getByTestId("bench-row");
  const count = await rows.count();
  expect(count).toBeGreaterThan(3);
  await expect(rows.first()).toHaveAttribute("data-mechanism", "softmax");
  await page.getByTestId("bench-go").click();
  // Needles come last.
  await expect(rows.last()).toHaveAttribute("data-needles", /./, { timeout: 420_000 });
  for (const row of await rows.all()) expect(await row.getAttribute("data-trouble"), await row.getAttribute("data-mechanism")).toBeNull();
  await expect(page.getByTestId("bench-status")).toContainText("Done.");

  const of = async (key) => Object.fromEntries(await rows.evaluateAll((list, key) => list.map((row) => [row.dataset.mechanism, Number(row.dataset[key])]), key));
  const points = page.getByTestId("point");
  const plotted = () => points.evaluateAll((list) => list.map((point) => [Number(point.dataset.number), Number(point.dataset.y)]));
  const loss = await of("loss");
  const ids = Object.keys(loss);
  await expect(points).toHaveCount(count);
  // A variant that foresees tokens is compared over those it does not, so its difference is not that of both losses.
  const beyond = await of("beyond");
  for (const [number, y] of await plotted()) expect(y).toBeCloseTo(beyond[ids[number - 1]], 4);
  for (const id of ids.filter((id) => id !== "prefix_lm")) expect(beyond[id]).toBeCloseTo(loss[id] - loss.softmax, 4);
  expect(Math.abs(beyond.prefix_lm - (loss.prefix_lm - loss.softmax))).toBeGreaterThan(1e-3);

  // The ceilings are real numbers, and no variant passes them by far.
  for (const key of ["data-bytes", "data-flops"]) expect(Number(await page.getByTestId("ceilings").getAttribute(key))).toBeGreaterThan(1e6);

  // The window computes fewer scores than softmax, and softmax computes all.
  const share = await of("share");
  expect(share.softmax).toBeCloseTo(1, 5);
  expect(share.streaming_window).toBeLessThan(1);

  // What lies behind a window is not found, whatever the loss says.
  const needles = await of("needles");
  expect(needles.softmax).toBeGreaterThan(0.9);
  expect(needles.streaming_window).toBeLessThan(0.5);
  await page.getByTestId("bench-quality").selectOption({ index: 1 });
  await expect(page.locator("svg.scatter")).toContainText("needles found");
  for (const [number, y] of await plotted()) expect(y).toBeCloseTo(100 * needles[ids[number - 1]], 4);
  await page.getByTestId("bench-axis").selectOption({ index: 1 });
  await expect(points).toHaveCount(count);

  // Beyond the context only what is asked for is measured; stopping keeps what is there.
  await page.getByTestId("bench-length").last().click();
  await expect(page.locator("svg.scatter")).toBeHidden();
  await page.getByTestId("bench-go").click();
  await expect(rows.nth(1)).toHaveAttribute("data-millis", /./, { timeout: 120_000 });
  await page.getByTestId("bench-go").click();
  expect((await of("share")).softmax).toBeCloseTo(1, 5);
  await expect(rows.first()).not.toHaveAttribute("data-loss", /./);
  await expect(page.locator("svg.scatter")).toBeVisible();
});

test("axe finds nothing on the bench", async ({ page }) => {
  await page.goto("./bench");
  await expect(page.getByTestId("bench-row").first()).toBeVisible();
  const report = await new AxeBuilder({ page }).withTags(["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]).analyze();
  expect(report.violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.target.join(" ")).slice(0, 3).join(", ")}`)).toEqual([]);
  await page.setViewportSize({ width: 360, height: 844 });
  expect(await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)).toBeLessThanOrEqual(0);
});
