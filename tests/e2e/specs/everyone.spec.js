// Keyboard, narrow screens, both themes, accessibility.
import { AxeBuilder } from "@axe-core/playwright";
import { test, expect } from "../pages/test.js";

test("the main job with the keyboard alone", async ({ playground, page }) => {
  await playground.open();
  await playground.head("L0H0").focus();
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
  await expect(page.getByTestId("shown-head")).toContainText("L1H1");
  const grid = playground.matrix("a").getByTestId("grid-cell").first();
  await grid.focus();
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Home");
  await page.keyboard.press("Enter");
  expect(playground.hash()).toMatch(/q=\d+/);
  await expect(page.getByTestId("announced")).not.toBeEmpty();
});

for (const theme of ["light", "dark"]) {
  test(`axe finds nothing, ${theme}`, async ({ playground, page }) => {
    await page.emulateMedia({ colorScheme: theme, reducedMotion: "reduce" });
    await playground.open();
    const clean = async (place) => {
      const report = await new AxeBuilder({ page }).withTags(["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]).analyze();
      const found = report.violations.map((v) => `${place}: ${v.id}: ${v.nodes.map((n) => n.target.join(" ")).slice(0, 3).join(", ")}`);
      expect(found).toEqual([]);
    };
    for (const tab of ["sinks", "roles", "paper"]) {
      await playground.tab(tab).click();
      await clean(tab);
    }
    await page.getByTestId("model").click();
    await clean("models");
    await page.keyboard.press("Escape");
    await page.getByTestId("add-prompt").click();
    await page.getByTestId("prompt-b").fill("One day, a big boy found a ball.");
    await expect(page.getByTestId("token-b").first()).toBeVisible();
    await clean("two prompts");
    await page.goto("learn");
    await clean("learn");
    await page.getByTestId("begin").first().click();
    await playground.settled();
    await clean("lesson");
  });
}

for (const width of [1440, 1024, 390, 360]) {
  test(`nothing scrolls sideways at ${width} px`, async ({ playground, page }) => {
    await page.setViewportSize({ width, height: 844 });
    await playground.open();
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    expect(overflow).toBeLessThanOrEqual(0);
    await page.getByTestId("model").click();
    const dialog = page.getByTestId("models");
    await expect(dialog).toBeVisible();
    expect(await dialog.evaluate((each) => each.scrollWidth - each.clientWidth)).toBeLessThanOrEqual(0);
    await page.keyboard.press("Escape");
    if (width < 940) {
      await page.getByTestId("show-b").click();
      await expect(playground.matrix("b")).toBeVisible();
      await expect(playground.matrix("a")).toBeHidden();
    }
  });
}

test("the theme switch changes the page and is remembered", async ({ playground, page }) => {
  await playground.open();
  const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const seen = new Set([await background()]);
  for (let i = 0; i < 2; i++) {
    await page.getByTestId("theme").click();
    seen.add(await background());
  }
  expect(seen.size).toBeGreaterThan(1);
  const choice = await page.getByTestId("theme").getAttribute("data-choice");
  await page.reload();
  await expect(page.getByTestId("theme")).toHaveAttribute("data-choice", choice);
});
