// The catalogue: every paper is there, search and filters narrow it, and what works opens a running experiment.
import { AxeBuilder } from "@axe-core/playwright";
import { test, expect } from "../pages/test.js";

test("every paper is listed and the list narrows", async ({ page }) => {
  await page.goto("./papers");
  const cards = page.getByTestId("paper");
  await expect(cards).toHaveCount(68);
  const numbers = await cards.evaluateAll((list) => list.map((card) => Number(card.dataset.number)));
  expect([...numbers].sort((a, b) => a - b)).toEqual(Array.from({ length: 68 }, (_, i) => i + 1));

  await page.getByTestId("paper-search").fill("sink emerges");
  await expect(cards).toHaveCount(1);
  await expect(cards).toHaveAttribute("data-number", "52");
  await page.getByTestId("paper-search").fill("no such paper");
  await expect(cards).toHaveCount(0);
  await expect(page.getByTestId("paper-count")).toContainText("No paper");
  await page.getByTestId("paper-search").fill("");

  await page.locator("[data-test=paper-filter][data-word=works]").check();
  const working = await cards.count();
  expect(working).toBeGreaterThan(0);
  await expect(page.locator("[data-test=paper][data-works=false]")).toHaveCount(0);
  await page.locator("[data-test=paper-filter][data-word='not yet']").check();
  await expect(cards).toHaveCount(68);
});

test("a card opens its experiment, and the way back is in the bar", async ({ page, playground }) => {
  await page.goto("./papers");
  await page.locator("[data-test=paper-open][data-mechanism]").first().click();
  await playground.settled();
  expect(playground.hash()).toMatch(/a=softmax&b=\w+/);
  await page.getByRole("navigation").first().getByRole("link", { name: "Papers" }).click();
  await expect(page.getByTestId("paper")).toHaveCount(68);
});

for (const theme of ["light", "dark"]) {
  test(`axe finds nothing in the catalogue, ${theme}`, async ({ page }) => {
    await page.emulateMedia({ colorScheme: theme, reducedMotion: "reduce" });
    await page.goto("./papers");
    await expect(page.getByTestId("paper")).toHaveCount(68);
    const report = await new AxeBuilder({ page }).withTags(["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]).analyze();
    expect(report.violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.target.join(" ")).slice(0, 3).join(", ")}`)).toEqual([]);
    await page.setViewportSize({ width: 360, height: 844 });
    expect(await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)).toBeLessThanOrEqual(0);
  });
}

test("a paper's experiment says what it shows, with a number of this run that the card remembers", async ({ page, playground }) => {
  await page.goto("./papers");
  const card = page.locator("[data-test=paper][data-number='60']");
  await card.getByRole("link").first().click();
  await playground.settled();
  await expect(page.getByTestId("takeaway")).toHaveAttribute("data-paper", "60");
  await expect(page.getByTestId("takeaway-number")).toContainText(/%/);
  const number = await page.getByTestId("takeaway-number").textContent();
  // Another experiment is none of the paper's.
  await playground.rerun(() => playground.type("Once upon a time"));
  await expect(page.getByTestId("takeaway")).toHaveCount(0);
  await page.goto("./papers");
  await expect(card.getByTestId("paper-number")).toHaveText(number);
});
