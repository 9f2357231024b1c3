// Studies: each begins from its link, grows, can be paused, taken up again and given up, and can be taken away.
import { readFile } from "node:fs/promises";
import { test, expect } from "../pages/test.js";

const PROMPT = encodeURIComponent("Lily has the ball. Tom has the cup. So Lily has the");
const open = (playground, study, more = "") =>
  playground.open(`m=circuits-2m&a=softmax&tab=studies&study=${study}${more}&p=${PROMPT}`);
const studies = (page) => page.getByTestId("studies");
const whole = (page) => expect(studies(page)).toHaveAttribute("data-whole", "true", { timeout: 120_000 });

for (const study of ["needles", "helmet", "choices", "sink_set", "sink_acts", "sink_tracking", "streaming", "features"]) {
  test(`${study} runs from its link and says what it found`, async ({ page, playground }) => {
    await open(playground, study, "&items=1");
    await expect(studies(page)).toHaveAttribute("data-study", study);
    await whole(page);
    await expect(page.getByTestId("study-verdict")).toHaveText(/\d.*\.$/s);
    const figures = studies(page).getByTestId("exhibit");
    expect(await figures.count()).toBeGreaterThan(0);
    for (const figure of await figures.all()) {
      const svg = await figure.locator(".picture svg").evaluate((node) => node.outerHTML);
      expect(svg.length).toBeGreaterThan(300);
      expect(svg).not.toMatch(/NaN|inf/);
    }
    await expect(page.getByTestId("study-go")).toBeHidden();
  });
}

test("a sweep waits for the visitor, is paused, goes on from there, and is given up", async ({ page, playground }) => {
  await open(playground, "needles", "&over=heads&items=1");
  const done = () => page.getByTestId("pace").getAttribute("data-done");
  await expect(page.getByTestId("study-go")).toHaveText("Run");
  expect(await done()).toBeNull();
  await page.getByTestId("study-go").click();
  await expect.poll(async () => Number(await done()), { timeout: 60_000 }).toBeGreaterThan(0);
  await page.getByTestId("study-go").click();
  await expect(page.getByTestId("study-far")).toHaveText(/^Paused/);
  // What was under way when it was paused may still arrive.
  await page.waitForTimeout(1500);
  const paused = Number(await done());
  await page.waitForTimeout(1500);
  expect(Number(await done())).toBe(paused);
  await page.getByTestId("study-go").click();
  await expect.poll(async () => Number(await done()), { timeout: 60_000 }).toBeGreaterThan(paused);
  await page.getByTestId("study-cancel").click();
  await expect(page.getByTestId("study-far")).toHaveText("Not run yet");
});

test("studies are two clicks away, and what they found can be taken away", async ({ page, playground }) => {
  await playground.open(`m=circuits-2m&a=softmax&p=${PROMPT}`);
  await page.locator("[data-test=tab][data-tab=studies]").click();
  await page.locator("[data-test=study][data-word=choices]").click();
  expect(playground.hash()).toContain("study=choices");
  await page.getByTestId("study-items").selectOption("2");
  await whole(page);
  const download = page.waitForEvent("download");
  await page.getByTestId("study-json").click();
  const found = JSON.parse(await readFile(await (await download).path(), "utf8"));
  expect(found.analysis).toBe("choices");
  expect(found.found.study.done).toBe(found.found.study.all);
});

test("the threshold of a study of sinks is moved in the study, and nothing is read again", async ({ page, playground }) => {
  await open(playground, "sink_set");
  await whole(page);
  const rates = page.locator("[data-test=exhibit][data-exhibit=rates]");
  const done = await page.getByTestId("pace").getAttribute("data-done");
  await page.getByTestId("epsilon").fill("0.15");
  await expect(page.getByTestId("study-verdict")).toContainText("ε = 0.15");
  await expect(page.getByTestId("pace")).toHaveAttribute("data-done", done);
  expect(playground.hash()).toContain("eps=0.15");
  await expect(rates.locator(".picture svg")).toContainText("ε 0.15");
  await page.getByTestId("study-position").fill("2");
  await page.getByTestId("study-position").press("Enter");
  await expect(page.getByTestId("study-verdict")).toContainText("at position 2");
  expect(playground.hash()).toContain("pos=2");
});

test("options, examples, sentence and factors are set in the study, kept by the link, and change what is asked", async ({ page, playground }) => {
  test.setTimeout(400_000);
  await open(playground, "letters", "&options=3");
  await expect(page.getByTestId("study-options")).toHaveValue("3");
  const square = page.locator("[data-test=exhibit][data-exhibit='letters.square'] .picture svg");
  await expect(square).toContainText("right C", { timeout: 60_000 });
  await expect(square).not.toContainText("right D");
  await page.getByTestId("study-options").selectOption("2");
  await expect(square).not.toContainText("right C");
  await page.getByTestId("study-shots").selectOption("1");
  expect(playground.hash()).toContain("options=2");
  expect(playground.hash()).toContain("shots=1");
  await page.locator("[data-test=study][data-word=recall]").click();
  // By its label: the sentence named 2 is the one at 1, which the link says.
  await page.getByTestId("study-template").selectOption({ label: "2" });
  await page.getByTestId("study-lambda_m").selectOption("0.75");
  await page.reload();
  await playground.settled();
  await expect(page.getByTestId("study-lambda_m")).toHaveValue("0.75");
  await expect(page.getByTestId("study-template")).toHaveValue("1");
  await expect(studies(page)).toHaveAttribute("data-whole", "true", { timeout: 200_000 });
  await expect(page.getByTestId("study-verdict")).toContainText("feed-forward times 0.75");
});
