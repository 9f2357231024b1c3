// Drawings of mechanisms on the paper tab: every mechanism that offers some makes them of its pane's pass, in this browser.
import { readFile } from "node:fs/promises";
import { test, expect } from "../pages/test.js";

const PROMPT = encodeURIComponent(
  "One day, a little girl named Lily found a big red ball in the garden. She wanted to play with the ball. Her friend Tom " +
  "came to the garden and saw the big red ball too. Lily and Tom played with the ball all day, and then they went home. " +
  "Mom was happy to see them, and they told her about the ball and the garden.",
);
const fresh = (gallery) => expect(gallery).toHaveAttribute("data-fresh", "true", { timeout: 60_000 });

const catalogue = JSON.parse(await readFile(new URL("../../../www/mechanisms.json", import.meta.url), "utf8"));
const drawers = (catalogue.mechanisms ?? catalogue).filter((entry) => entry.exhibits.length > 0);

test("fifteen papers draw", () => {
  expect(new Set(drawers.map((entry) => entry.number)).size).toBe(15);
});

for (const entry of drawers) {
  test(`${entry.id} draws what it offers`, async ({ playground, page }) => {
    await playground.open(`a=softmax&b=${entry.id}&tab=paper&p=${PROMPT}`, "?engine=cpu");
    const gallery = page.locator("[data-test=gallery][data-analysis=exhibits]");
    await fresh(gallery);
    const figures = gallery.getByTestId("exhibit");
    await expect(figures).toHaveCount(entry.exhibits.filter((drawing) => !drawing.slow).length);
    let drawn = 0;
    for (const figure of await figures.all()) {
      const missing = figure.getByTestId("exhibit-missing");
      if (await missing.isVisible()) {
        await expect(missing).toHaveText(/\.$/);
        continue;
      }
      drawn += 1;
      expect(await playground.number(figure, "data-rows")).toBeGreaterThan(0);
      // Something is painted, and no number ran out of what SVG can hold.
      const svg = await figure.locator(".picture svg").evaluate((node) => node.outerHTML);
      expect(svg.length).toBeGreaterThan(300);
      expect(svg).not.toMatch(/NaN|[ ",]-?inf[ ",]/);
      await figure.locator(".picture").focus();
      await page.keyboard.press("ArrowRight");
      await expect(figure.getByTestId("exhibit-read")).not.toHaveText("");
    }
    expect(drawn).toBeGreaterThan(0);
  });
}

test("a control changes what is drawn, sheets are chosen, and a drawing can be taken away", async ({ playground, page }) => {
  await playground.open(`a=softmax&b=duo_attention(streaming:0)&tab=paper&p=${PROMPT}`, "?engine=cpu");
  const gallery = page.locator("[data-test=gallery][data-analysis=exhibits]");
  await fresh(gallery);
  const fact = (name) => gallery.locator(`[data-exhibit='duo_attention.gates'] [data-fact=${name}]`);
  expect(await playground.number(fact("streaming"), "data-value")).toBe(0);
  await playground.open(`a=softmax&b=duo_attention(streaming:1)&tab=paper&p=${PROMPT}`, "?engine=cpu");
  await expect(fact("streaming")).toHaveAttribute("data-value", "18", { timeout: 60_000 });
  const mask = gallery.locator("[data-exhibit='duo_attention.mask']");
  const picture = () => mask.locator(".picture").innerHTML();
  const before = await picture();
  await mask.getByTestId("exhibit-sheet").nth(1).click();
  expect(await picture()).not.toBe(before);
  for (const what of ["CSV", "SVG", "PNG"]) {
    const download = page.waitForEvent("download");
    await mask.locator(`[data-what=${what}]`).click();
    expect((await download).suggestedFilename()).toBe(`attnscope-duo_attention-mask.${what.toLowerCase()}`);
  }
});

test("drawings of many passes wait to be asked for, and a mechanism in no pane is put into B", async ({ playground, page }) => {
  test.setTimeout(180_000);
  await playground.open(`a=softmax&tab=paper&paper=halo_attention&p=${PROMPT}`, "?engine=cpu");
  await page.getByTestId("exhibits-add").click();
  await expect(page.getByTestId("exhibits")).toHaveAttribute("data-pane", "1");
  const slow = page.locator("[data-test=gallery][data-analysis=exhibits_slow]");
  await expect(slow.getByTestId("exhibit")).toHaveCount(0);
  await page.getByTestId("exhibits-slow").getByTestId("again").click();
  const settings = slow.locator("[data-exhibit='halo_attention.settings']");
  await expect(settings).toHaveAttribute("data-rows", "4", { timeout: 150_000 });
  await expect(settings).toHaveAttribute("data-columns", "5");
});
