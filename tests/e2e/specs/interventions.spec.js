// Heads taken out, and activations patched from another prompt: numbers, link, progress.
import { test, expect } from "../pages/test.js";

const fresh = (locator) => expect(locator).toHaveAttribute("data-fresh", "true", { timeout: 90_000 });

test("a click takes a head out, the result stands beside the whole model, and the link keeps it", async ({ playground, page }) => {
  await playground.open();
  await playground.tab("interventions").click();
  const ablation = page.getByTestId("ablation");
  await fresh(ablation);
  const numbers = page.getByTestId("ablation-numbers");
  expect(await playground.number(numbers, "data-divergence")).toBe(0);
  const sweep = page.getByTestId("sweep-table");
  await expect(sweep.locator("td[data-value]")).toHaveCount(36, { timeout: 90_000 });
  const cell = sweep.locator("td[data-row='1'][data-column='5']");
  await page.locator("[data-test=effect][data-word=log_prob]").click();
  await expect(cell).toHaveAttribute("data-value", /./);
  const alone = await playground.number(cell, "data-value");
  await cell.click();
  await expect.poll(() => playground.hash()).toContain("ablate=L1H5");
  await expect(numbers).not.toHaveAttribute("data-divergence", "0");
  await fresh(ablation);
  // The sweep's number of this head is the change shown beside.
  const change = (await playground.number(numbers, "data-log-prob")) - (await playground.number(numbers, "data-whole"));
  expect(change).toBeCloseTo(alone, 3);
  await expect(page.getByTestId("ablation-verdict")).toContainText("Without L1H5");
  // Another way to take it out is another number, without a new run of the panes.
  const run = await playground.work.getAttribute("data-run");
  const before = await numbers.getAttribute("data-log-prob");
  await page.locator("[data-test=how][data-word=zero]").click();
  await expect(numbers).not.toHaveAttribute("data-log-prob", before);
  expect(await playground.work.getAttribute("data-run")).toBe(run);
  await page.reload();
  await playground.settled();
  await fresh(page.getByTestId("ablation"));
  await expect(page.getByTestId("taken")).toHaveAttribute("data-head", "L1H5");
  await page.getByTestId("put-back").click();
  await expect(page.getByTestId("taken")).toHaveCount(0);
  await expect(page.getByTestId("ablation-numbers")).toHaveAttribute("data-divergence", "0");
});

test("patching: an example in one click, everything at once restores the clean answer, CSV", async ({ playground, page }) => {
  await playground.open();
  await playground.tab("interventions").click();
  await page.locator("[data-test=act][data-word=patch]").click();
  await page.getByTestId("patch-example").first().click();
  await expect(playground.engine).toHaveAttribute("data-state", "ready", { timeout: 90_000 });
  const patching = page.getByTestId("patching");
  await fresh(patching);
  await expect(page.getByTestId("patch-verdict")).toContainText("Mary");
  const everything = page.locator("[data-test=fact][data-fact=everything_logit_difference]");
  expect(await playground.number(everything, "data-value")).toBe(1);
  const table = page.getByTestId("patch-table");
  const tokens = await playground.tokens.count();
  await expect(table.locator("tbody tr")).toHaveCount(tokens);
  const values = await table.locator("td").evaluateAll((cells) => cells.map((cell) => Number(cell.dataset.value)));
  expect(values.some((value) => value > 3)).toBe(true);
  expect(playground.hash()).toContain("corrupted=");
  const [download] = await Promise.all([page.waitForEvent("download"), page.getByTestId("grid-csv").first().click()]);
  expect(download.suggestedFilename()).toMatch(/\.csv$/);
  await page.locator("[data-test=site][data-word=heads]").click();
  await fresh(patching);
  await expect(table.locator("tbody tr")).toHaveCount(4);
  // What earlier heads tell the head that moves the name.
  await page.locator("[data-test=act][data-word=paths]").click();
  await fresh(page.getByTestId("composition"));
  expect(await playground.number(page.getByTestId("baseline"), "data-value")).toBeCloseTo(1 / Math.sqrt(192), 4);
  await fresh(page.getByTestId("paths"));
  await expect(page.getByTestId("paths-table").locator("td[data-value]")).toHaveCount(18);
});

test("prompts of other lengths are refused with both numbers, and a sweep can be cancelled", async ({ playground, page }) => {
  await playground.open();
  await playground.tab("interventions").click();
  await page.locator("[data-test=act][data-word=patch]").click();
  await page.getByTestId("corrupted").fill("One day");
  await page.getByTestId("corrupted").blur();
  await expect(page.getByTestId("trouble")).toContainText("as many tokens as the prompt");
  await page.locator("[data-test=act][data-word=remove]").click();
  await playground.type("the cat sat on the mat and the dog ran. ".repeat(20));
  await page.getByTestId("again").click();
  await page.getByTestId("stop").click();
  await expect(page.getByTestId("again")).toBeVisible({ timeout: 60_000 });
  await expect(page.getByText("Stopped.")).toBeVisible();
});
