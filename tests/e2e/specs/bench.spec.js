// The bench: every mechanism of the catalogue gets a quote in one run, and the plot and the table say the same.
import { AxeBuilder } from "@axe-core/playwright";
import { test, expect } from "../pages/test.js";

test("every variant is measured beside softmax", async ({ page }) => {
  test.setTimeout(300_000);
  await page.goto("./bench?engine=cpu");
  const rows = page.getByTestId("bench-row");
  const count = await rows.count();
  expect(count).toBeGreaterThan(3);
  await expect(rows.first()).toHaveAttribute("data-mechanism", "softmax");
  await page.getByTestId("bench-go").click();
  // The first length is complete when the last variant has its numbers.
  await expect(rows.last()).toHaveAttribute("data-loss", /./, { timeout: 240_000 });
  for (const row of await rows.all()) expect(await row.getAttribute("data-trouble"), await row.getAttribute("data-mechanism")).toBeNull();
  await page.getByTestId("bench-go").click();

  const loss = Object.fromEntries(await rows.evaluateAll((list) => list.map((row) => [row.dataset.mechanism, Number(row.dataset.loss)])));
  const points = page.getByTestId("point");
  await expect(points).toHaveCount(count);
  const plotted = await points.evaluateAll((list) => list.map((point) => [Number(point.dataset.number), Number(point.dataset.y)]));
  const ids = Object.keys(loss);
  for (const [number, y] of plotted) expect(y).toBeCloseTo(loss[ids[number - 1]] - loss.softmax, 4);

  // The ceilings are real numbers, and no variant passes them by far.
  for (const key of ["data-bytes", "data-flops"]) expect(Number(await page.getByTestId("ceilings").getAttribute(key))).toBeGreaterThan(1e6);

  // The window computes fewer scores than softmax, and softmax computes all.
  const share = Object.fromEntries(await rows.evaluateAll((list) => list.map((row) => [row.dataset.mechanism, Number(row.dataset.share)])));
  expect(share.softmax).toBeCloseTo(1, 5);
  expect(share.streaming_window).toBeLessThan(1);
  await page.getByTestId("bench-axis").selectOption({ index: 1 });
  await expect(points).toHaveCount(count);
  await page.getByTestId("bench-length").last().click();
  await expect(points).toHaveCount(count);
  await expect(page.locator("svg.scatter")).toBeHidden();
});

test("axe finds nothing on the bench", async ({ page }) => {
  await page.goto("./bench");
  await expect(page.getByTestId("bench-row").first()).toBeVisible();
  const report = await new AxeBuilder({ page }).withTags(["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]).analyze();
  expect(report.violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.target.join(" ")).slice(0, 3).join(", ")}`)).toEqual([]);
  await page.setViewportSize({ width: 360, height: 844 });
  expect(await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)).toBeLessThanOrEqual(0);
});
