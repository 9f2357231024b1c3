// Writing on: both panes continue the prompt as the command line does; step, stop, and what becomes of the text.
import { execFileSync } from "node:child_process";
import { test, expect } from "../pages/test.js";

const generate = (prompt, tokens, stack, ...more) => JSON.parse(execFileSync(process.env.ATTNSCOPE_CLI,
  ["generate", "--json", "--model", "stories-3m", "--prompt", prompt, "--tokens", String(tokens), "--engine", "cpu", "--stack", stack, ...more],
  { cwd: "../..", encoding: "utf8" }));

const written = (page, pane) => page.locator(`[data-test=pane][data-pane=${pane}]`).getByTestId("written");

test("every pane continues the prompt as the command line does", async ({ playground, page }) => {
  await playground.open("m=stories-3m&p=Once%20upon%20a%20time&a=softmax&b=streaming_window(sinks:0,window:4),softmax&n=24");
  await page.getByTestId("write-go").click();
  for (const [pane, stack] of [["a", "softmax"], ["b", "streaming_window(sinks:0,window:4),softmax"]]) {
    await expect(written(page, pane)).toHaveAttribute("data-count", "24");
    expect(await written(page, pane).getAttribute("data-text")).toBe(generate("Once upon a time", 24, stack).text);
    expect(Number(await written(page, pane).getAttribute("data-rate"))).toBeGreaterThan(0);
  }
  // A step adds one token; what was written stays.
  const before = await written(page, "a").getAttribute("data-text");
  await page.getByTestId("write-step").click();
  await expect(written(page, "a")).toHaveAttribute("data-count", "25");
  expect(await written(page, "a").getAttribute("data-text")).toMatch(new RegExp(`^${before.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}`));
});

test("the pane's map grows by the rows of written tokens, and follows the pinned head", async ({ playground, page }) => {
  await playground.open("m=stories-3m&p=Once%20upon%20a%20time&a=softmax&h=L1H2&n=12");
  const prompt = Number(await playground.matrix("a").getAttribute("data-tokens"));
  await page.getByTestId("write-go").click();
  await expect(written(page, "a")).toHaveAttribute("data-count", "12");
  const grown = written(page, "a").getByTestId("grown");
  // The last token is read only when another follows.
  await expect(grown).toHaveAttribute("data-rows", "11");
  await expect(grown).toHaveAttribute("data-tokens", String(prompt + 11));
  // The rows of a softmax sum to one each.
  expect(Number(await grown.getAttribute("data-sum"))).toBeCloseTo(prompt + 11, 2);
  await expect(grown.getByTestId("grown-reading")).toContainText(/reads \d+/);
  await page.getByTestId("write-step").click();
  await expect(grown).toHaveAttribute("data-rows", "12");
  // It follows the pinned head.
  await playground.head("L2H3").click();
  await expect(grown).toHaveAttribute("data-head", "L2H3");
  await expect(grown).toHaveAttribute("data-rows", "12");
  // Tokens that were taken into the prompt leave no map of what was written.
  await playground.rerun(() => page.getByTestId("written-take").click());
  await expect(page.getByTestId("grown")).toHaveCount(0);
});

test("on the GPU the rows come from what was kept while it wrote", async ({ playground, page }) => {
  // A software GPU compiles for half a minute.
  test.setTimeout(300_000);
  await playground.open("m=stories-3m&p=Once%20upon%20a%20time&a=softmax&n=4", "?engine=gpu");
  const prompt = Number(await playground.matrix("a").getAttribute("data-tokens"));
  await page.getByTestId("write-go").click();
  const grown = written(page, "a").getByTestId("grown");
  await expect(grown).toHaveAttribute("data-rows", "3", { timeout: 90_000 });
  await expect(grown).toHaveAttribute("data-kept", "true");
  expect(Number(await grown.getAttribute("data-sum"))).toBeCloseTo(prompt + 3, 2);
});

test("sampling is in the link, and the seed decides", async ({ playground, page }) => {
  await playground.open("m=stories-3m&p=Once%20upon%20a%20time&a=softmax&n=16");
  await page.getByTestId("write-temperature").fill("0.8");
  await page.getByTestId("write-temperature").press("Enter");
  await page.getByTestId("write-seed").fill("7");
  await page.getByTestId("write-seed").press("Enter");
  await expect(page).toHaveURL(/t=0\.8/);
  await page.reload();
  await playground.settled();
  await page.getByTestId("write-go").click();
  await expect(written(page, "a")).toHaveAttribute("data-count", "16");
  const came = await written(page, "a").getAttribute("data-text");
  expect(came).toBe(generate("Once upon a time", 16, "softmax", "--temperature", "0.8", "--seed", "7").text);
});

test("stop leaves what was written, and the text can become the prompt", async ({ playground, page }) => {
  await playground.open("m=stories-3m&p=Once%20upon%20a%20time&a=softmax&n=400");
  await page.getByTestId("write-go").click();
  await expect(written(page, "a")).toHaveAttribute("data-count", /^[1-9]/);
  await page.getByTestId("write-go").click();
  await expect(page.getByTestId("write")).toHaveAttribute("data-writing", "false");
  const count = Number(await written(page, "a").getAttribute("data-count"));
  expect(count).toBeGreaterThan(0);
  expect(count).toBeLessThan(400);
  await page.waitForTimeout(300);
  expect(Number(await written(page, "a").getAttribute("data-count"))).toBeLessThanOrEqual(count + 16);
  const text = await written(page, "a").getAttribute("data-text");
  await playground.rerun(() => page.getByTestId("written-take").click());
  await expect(playground.prompt).toHaveValue(`Once upon a time${text}`);
  await expect(page.getByTestId("written")).toHaveCount(0);
});
