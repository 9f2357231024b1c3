// Figures in somebody else's page: three on a plain page under a strict policy, with one engine behind them.
import { readFileSync } from "node:fs";
import { test as base, expect } from "@playwright/test";
import { Elsewhere } from "../pages/elsewhere.js";
import { Figures } from "../pages/figures.js";

const test = base.extend({
  figures: async ({ page, baseURL }, use) => {
    const figures = new Figures(page, new URL(baseURL).origin);
    await use(figures);
    await figures.close();
    expect(figures.failures, "nothing went wrong behind the page").toEqual([]);
  },
});

const figure = (attributes, inside = "") => `<attn-scope m="stories-3m" ${attributes}>${inside}</attn-scope>`;
const ONE = figure('id="one" p="The cat &amp; the dog = 50% + #1." a="softmax" b="alibi(slope_range:4),softmax" pin="L1H5" hide="tabs profiles panes wall" title="Two variants" eager');
const TWO = figure('p="Once upon a time there was a fox." a="softmax" b="streaming_window(sinks:0,window:4),softmax" pin="L2H1" hide="tabs panes" theme="dark" eager', "<p>A picture of it.</p>");
const THREE = figure('p="Lily saw a big red ball." a="softmax" hide="prompt tabs panes profiles wall bar" eager');

// One message of the protocol.
const say = (type, payload, id, more = {}) => ({ source: "attnscope", version: 1, id, type, payload, ...more });

test("three figures on a plain page under a strict policy share one engine", async ({ figures, page }) => {
  const workers = [];
  page.on("worker", (worker) => workers.push(worker.url()));
  const models = [];
  page.on("request", (request) => request.url().endsWith(".safetensors") && models.push(request.url()));
  const events = `window.seen = []; for (const name of ["ready", "change", "pin", "error"]) addEventListener(name, (event) => event.target.localName === "attn-scope" && seen.push(name));`;
  await figures.host(`<h1>An article</h1>${ONE}<p>between</p>${TWO}${THREE}`, { "/page.js": events });
  for (const index of [0, 1, 2]) await figures.settled(index);
  expect(models).toHaveLength(1);
  expect(workers).toHaveLength(1);
  expect((await page.evaluate(() => window.seen)).filter((name) => name === "ready")).toHaveLength(3);

  // What the attributes say is what is shown.
  expect(await figures.inside(0).getByTestId("prompt").inputValue()).toBe("The cat & the dog = 50% + #1.");
  await expect(figures.inside(0).locator("[data-test=matrix][data-pane=a]")).toHaveAttribute("data-head", "L1H5");
  await expect(figures.inside(1).locator("html")).toHaveAttribute("data-theme", "dark");
  await expect(figures.inside(0).getByTestId("wall")).toBeHidden();
  await expect(figures.inside(1).getByTestId("wall")).toBeVisible();
  await expect(figures.inside(2).getByTestId("prompt")).toBeHidden();
  await expect(figures.inside(2).locator("[data-test=matrix][data-pane=a]")).toBeVisible();
  await expect(figures.inside(0).locator("header.top")).toHaveCount(0);

  // The frame is as high as its content: nothing scrolls in it, and it does not grow by itself. (The browser lays out what
  // is in view.)
  for (const index of [0, 1, 2]) {
    await figures.figures.nth(index).scrollIntoViewIfNeeded();
    const height = () => figures.figures.nth(index).evaluate((each) => each.shadowRoot.querySelector("iframe").clientHeight);
    const content = () => figures.inside(index).locator("#app").evaluate((app) => Math.ceil(app.getBoundingClientRect().height));
    await expect.poll(async () => Math.abs((await content()) - (await height()))).toBeLessThanOrEqual(1);
    const before = await height();
    await page.waitForTimeout(300);
    expect(await height()).toBe(before);
  }

  // Each figure keeps its own run although one engine serves all: scores of a head are asked for after others have run.
  const sums = await Promise.all([0, 1, 2].map((index) => figures.figures.nth(index).evaluate((each) => each.matrix("a").then(({ values, tokens }) => [values.reduce((sum, value) => sum + (value ?? 0), 0), tokens]))));
  for (const [sum, tokens] of sums) expect(sum).toBeCloseTo(tokens, 2);
  expect(new Set(sums.map(([, tokens]) => tokens)).size).toBe(3);
  for (const index of [0, 1]) {
    await figures.inside(index).locator("[data-test=quantity][data-quantity=scores]").click();
    await expect(figures.inside(index).locator("[data-test=matrix][data-pane=a]")).toHaveAttribute("data-largest", /\d/);
  }
});

test("properties, attributes, events, and a clean end", async ({ figures, page }) => {
  await figures.host(ONE, { "/page.js": `window.seen = []; for (const name of ["ready", "progress", "change", "pin", "error"]) document.querySelector("attn-scope").addEventListener(name, (event) => seen.push([name, event.detail]));` });
  await figures.settled(0);
  const one = figures.figures.first();
  const before = await one.evaluate((figure) => figure.numbers());
  expect(before.panes).toHaveLength(2);
  expect(before.panes[1].kl_next).toBeGreaterThan(0);

  // An attribute, a property, a panel.
  await one.evaluate((figure) => figure.setAttribute("b", "softmax"));
  await expect.poll(() => one.evaluate((figure) => figure.numbers().then((numbers) => numbers.panes[1].kl_next, () => null))).toBeCloseTo(0, 6);
  await one.evaluate((figure) => (figure.experiment = { ...figure.experiment, prompt: "A new prompt." }));
  await expect(figures.inside(0).getByTestId("prompt")).toHaveValue("A new prompt.");
  await one.evaluate((figure) => figure.setAttribute("hide", "tabs"));
  await expect(figures.inside(0).getByTestId("wall")).toBeVisible();
  await figures.settled(0);
  await figures.inside(0).locator("[data-test=head][data-head=L3H2]").click();
  await expect.poll(() => one.evaluate((figure) => figure.experiment.view.pin)).toEqual({ layer: 3, head: 2 });
  const names = (await page.evaluate(() => window.seen)).map(([name]) => name);
  for (const name of ["ready", "progress", "change", "pin"]) expect(names).toContain(name);
  expect(names).not.toContain("error");
  // The back button still belongs to the page.
  expect(await page.evaluate(() => history.length)).toBeLessThanOrEqual(2);

  await one.evaluate((figure) => figure.remove());
  await expect(page.locator("iframe")).toHaveCount(0);
});

test("a figure loads when it comes into view, and its stand-in stays until then", async ({ figures, page }) => {
  await figures.host(`<main id="far"></main>${figure('p="Far below." a="softmax" hide="tabs panes profiles wall"', "<p>A picture of it.</p>")}`, {
    "/page.js": `document.getElementById("far").style.height = "4000px";`,
  });
  await page.waitForFunction(() => customElements.get("attn-scope"));
  await page.waitForTimeout(500);
  await expect(page.locator("iframe")).toHaveCount(0);
  await page.getByText("A picture of it.").scrollIntoViewIfNeeded();
  await expect(page.getByText("A picture of it.")).toBeVisible();
  await figures.settled(0);
  await expect(page.getByText("A picture of it.")).toBeHidden();
});

test("wrong origins are not answered; other versions and broken messages are refused in words", async ({ figures, page }) => {
  await figures.host(ONE);
  await figures.settled(0);
  const prompt = figures.inside(0).getByTestId("prompt");
  const link = "v=1&m=stories-3m&p=Changed&a=softmax";

  const version = await figures.say(0, say("state", { link }, 91, { version: 2 }));
  expect(version).toMatchObject({ type: "error", version: 1, payload: { code: "version" } });
  const unknown = await figures.say(0, say("explode", {}, 92));
  expect(unknown).toMatchObject({ type: "error", payload: { code: "message" } });
  const malformed = await figures.say(0, say("state", { hide: ["everything"] }, 93));
  expect(malformed).toMatchObject({ type: "error", payload: { code: "message" } });
  const broken = await figures.say(0, say("state", { link: "v=9" }, 94));
  expect(broken).toMatchObject({ type: "error", payload: { code: "parse" } });
  expect(await figures.say(0, { source: "somebody else", id: 95 }, 500)).toBeNull();
  // A well-formed message from a window that does not hold the figure.
  await figures.inside(0).locator("html").evaluate((_, message) => postMessage(message, "*"), say("state", { link }, 96));
  await expect(prompt).toHaveValue("The cat & the dog = 50% + #1.");

  // A frame that was told of another holder neither listens nor speaks.
  const heard = await page.evaluate(
    ([address, message]) =>
      new Promise((resolve) => {
        const frame = document.createElement("iframe");
        frame.src = address;
        document.body.append(frame);
        const heard = [];
        addEventListener("message", (event) => event.source === frame.contentWindow && heard.push(event.data));
        frame.addEventListener("load", () => {
          const again = setInterval(() => frame.contentWindow.postMessage(message, "*"), 200);
          setTimeout(() => (clearInterval(again), resolve(heard)), 4000);
        });
      }),
    [`${figures.origin}/embed.html?host=https%3A%2F%2Felsewhere.example#v=1&m=stories-3m&p=Mine&a=softmax`, say("state", { link }, 97)],
  );
  expect(heard).toEqual([]);
  const other = page.frames().find((frame) => frame.url().includes("elsewhere"));
  await expect(other.getByTestId("prompt")).toHaveValue("Mine");

  // And what is well said is done.
  expect(await figures.say(0, say("state", { link }, 98))).toMatchObject({ type: "result", payload: { answer: "done" } });
  await expect(prompt).toHaveValue("Changed");
  // The browser reports the messages that the mute frame would have sent elsewhere.
  figures.failures = figures.failures.filter((line) => !line.includes("elsewhere.example"));
});

test("a figure whose model is not here offers to fetch it, and then shows it", async ({ figures }) => {
  const shipped = (name) => readFileSync(new URL(`../../../www/models/circuits-2m/${name}`, import.meta.url));
  const server = await new Elsewhere(Object.fromEntries(["config.json", "tokenizer.json", "model.safetensors"].map((name) => [`small/${name}`, shipped(name)]))).open();
  try {
    const prompt = 'p="Once upon a time" a="softmax" hide="tabs profiles wall" eager';
    await figures.host(`<attn-scope m="url:${server.base}small/" ${prompt}></attn-scope><attn-scope m="circuits-2m" ${prompt}></attn-scope>`);
    const inside = figures.inside(0);
    await expect(inside.getByTestId("model-absent")).toContainText(server.base);
    expect(server.asked, "nothing is fetched unasked").toEqual([]);
    await inside.getByTestId("load-model").click();
    await expect(inside.getByTestId("arriving")).toHaveAttribute("data-state", "arrived", { timeout: 60_000 });
    await figures.settled(0);
    await figures.settled(1);
    // The same weights as the shipped model's, so the same numbers.
    const loss = (index) => figures.inside(index).locator("[data-test=pane][data-pane=a]").getAttribute("data-loss");
    expect(Number(await loss(0))).toBeCloseTo(Number(await loss(1)), 6);
  } finally {
    await server.close();
  }
});
