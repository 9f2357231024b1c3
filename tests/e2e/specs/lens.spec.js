// The lens tab: what layers would say, and a logit in parts that add up.
import { test, expect } from "../pages/test.js";

const ready = (locator) => expect(locator).toHaveAttribute("data-fresh", "true", { timeout: 60_000 });

test("the lens ends in the model's own prediction, and its parts add up to the logit", async ({ playground, page }) => {
  await playground.open();
  await playground.tab("lens").click();
  const lens = page.getByTestId("lens");
  await ready(lens);
  const tokens = await playground.tokens.count();
  const rows = page.getByTestId("lens-table").locator("tbody tr");
  await expect(rows).toHaveCount(tokens);
  // The last cell of the last row is the pane's likeliest next token.
  const end = rows.last().locator("td").last();
  const [likeliest] = await playground.candidates("a");
  expect(await playground.number(end, "data-value")).toBeCloseTo(likeliest.probability, 4);
  await ready(page.getByTestId("parts"));
  const sum = page.getByTestId("parts-sum");
  const [added, logit] = [await playground.number(sum, "data-sum"), await playground.number(sum, "data-logit")];
  expect(Math.abs(logit)).toBeGreaterThan(0.1);
  expect(Math.abs(added - logit)).toBeLessThan(1e-3);
  await playground.settled();
});

test("a cell pins its token, the norm and the layout stay in the link, and a head of the parts pins", async ({ playground, page }) => {
  await playground.open();
  await playground.tab("lens").click();
  const lens = page.getByTestId("lens");
  await ready(lens);
  const before = await page.getByTestId("lens-verdict").textContent();
  await page.getByTestId("lens-table").locator("td[data-row='5'][data-column='2']").click();
  expect(playground.hash()).toContain("q=5");
  await ready(lens);
  await expect(page.getByTestId("lens-verdict")).not.toHaveText(before);
  await expect(page.getByTestId("asked")).toHaveAttribute("data-query", "5");
  await page.locator("[data-test=lens-layout][data-word=layers]").click();
  const layers = page.getByTestId("lens-table").locator("tbody tr");
  await expect(layers).toHaveCount(7);
  await page.locator("[data-test=lens-norm][data-word=none]").click();
  await ready(lens);
  expect(playground.hash()).toContain("norm=none");
  expect(playground.hash()).toContain("lens=layers");
  await page.locator("[data-test=parts-table] td[data-row='3'][data-column='4']").click();
  expect(playground.hash()).toContain("pin=L3H4");
  // Another token is explained, and the sum follows it.
  await ready(page.getByTestId("parts"));
  const logit = await playground.number(page.getByTestId("parts-sum"), "data-logit");
  await page.getByTestId("answer").selectOption({ index: 2 });
  await expect(page.getByTestId("parts-sum")).not.toHaveAttribute("data-logit", String(logit));
  // One row per pane.
  await page.locator("[data-test=lens-layout][data-word=compact]").click();
  await expect(page.getByTestId("lens-table").locator("tbody tr")).toHaveCount(2, { timeout: 60_000 });
  await page.reload();
  await playground.settled();
  await expect(page.locator("[data-test=lens-norm][data-word=none]")).toHaveAttribute("aria-pressed", "true");
});

test("the lens is read from the keyboard", async ({ playground, page }) => {
  await playground.open();
  await playground.tab("lens").click();
  await ready(page.getByTestId("lens"));
  await page.locator("[data-test=lens-table] td[data-row='0'][data-column='0']").focus();
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("ArrowRight");
  const cell = page.locator("[data-test=lens-table] td[data-row='1'][data-column='1']");
  await expect(cell).toBeFocused();
  await expect(page.getByTestId("reading")).toContainText("After L0");
  await page.keyboard.press("Enter");
  await expect.poll(() => playground.hash()).toContain("q=1");
});
