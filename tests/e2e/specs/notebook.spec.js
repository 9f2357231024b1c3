// The notebook module, driven as anywidget drives it: a model with traits, an element, a clean end.
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { test as base, expect } from "@playwright/test";
import { Figures } from "../pages/figures.js";

const test = base.extend({
  figures: async ({ page, baseURL }, use) => {
    const figures = new Figures(page, new URL(baseURL).origin);
    await use(figures);
    await figures.close();
    expect(figures.failures, "nothing went wrong behind the page").toEqual([]);
  },
});

// A stand-in for anywidget's model.
const page = (origin, traits) => `
  import widget from "${origin}/notebook/widget.js";
  class Model extends EventTarget {
    traits = ${traits};
    saved = 0;
    get(name) { return this.traits[name]; }
    set(name, value) { this.traits[name] = value; this.dispatchEvent(new Event("change:" + name)); }
    on(name, hear) { this.addEventListener(name, hear); }
    off(name, hear) { this.removeEventListener(name, hear); }
    save_changes() { this.saved += 1; }
  }
  window.model = new Model();
  window.done = await widget.render({ model, el: document.getElementById("el") });
`;
const host = (figures, traits) => figures.host('<div id="el"></div>', { "/page.js": page(figures.origin, traits) });

test("viewer: arrays from Python, every head, the value under the pointer, a clean end", async ({ figures, page }) => {
  // 2 layers, 3 heads, 4 tokens; the weight tells its place.
  const traits = `(() => {
    const data = new Float32Array(2 * 3 * 4 * 4).map((_, at) => at / 100);
    return { patterns: new DataView(data.buffer), shape: [2, 3, 4, 4], tokens: ["a", "b", "<b>", "d"], layer: 0, head: 0 };
  })()`;
  await host(figures, traits);
  const figure = page.locator("figure");
  await expect(page.getByRole("button")).toHaveCount(6);
  await expect(figure).toHaveAttribute("data-value", String(Math.fround(0.15)));
  await page.getByRole("button", { name: "L1H2" }).click();
  expect(await page.evaluate(() => [model.traits.layer, model.traits.head, model.saved])).toEqual([1, 2, 1]);
  await expect(page.locator("figcaption")).toContainText("L1H2");
  await expect(page.locator("figcaption")).toContainText("query d (3)");
  const box = await figure.locator("canvas").boundingBox();
  await page.mouse.move(box.x + box.width * 0.1, box.y + box.height * 0.6);
  await expect(page.locator("figcaption")).toContainText("query <b> (2), key a (0): 0.8800");
  await page.mouse.move(box.x + box.width * 0.9, box.y + box.height * 0.1);
  await expect(page.locator("figcaption")).toContainText("masked");
  await page.evaluate(() => model.set("layer", 0));
  await expect(page.locator("figcaption")).toContainText("L0H2");
  await page.evaluate(() => done());
  await expect(page.locator("#el")).toBeEmpty();
});

test("viewer: bytes that do not fit their shape are refused in words", async ({ figures, page }) => {
  await host(figures, `({ patterns: new DataView(new ArrayBuffer(12)), shape: [1, 1, 2, 2], tokens: [] })`);
  await expect(page.getByRole("alert")).toContainText("12 bytes came for shape [1,1,2,2]");
});

test("engine: the figure computes here, and its link and numbers go back to Python", async ({ figures, page }) => {
  await host(figures, `({ base: "${figures.origin}/", link: "v=1&m=stories-3m&p=One%20day&a=softmax&b=alibi", hide: "tabs profiles panes" })`);
  await figures.settled(0);
  await expect.poll(() => page.evaluate(() => model.traits.numbers?.panes[1].kl_next)).toBeGreaterThan(0);
  await figures.inside(0).locator("[data-test=head][data-head=L2H3]").click();
  await expect.poll(() => page.evaluate(() => model.traits.link)).toContain("pin=L2H3");
  await page.evaluate(() => model.set("link", "v=1&m=stories-3m&p=Two&a=softmax"));
  await expect(figures.inside(0).getByTestId("prompt")).toHaveValue("Two");
  await page.evaluate(() => done());
  await expect(page.locator("iframe")).toHaveCount(0);
});

test("the colours are those of the page", () => {
  const read = (path) => readFileSync(new URL(`../../../www/${path}`, import.meta.url), "utf8");
  const used = read("notebook/widget.js").match(/#[0-9a-f]{6}/g);
  for (const hex of used) expect(read("style/tokens.css")).toContain(hex);
  expect(used.length).toBeGreaterThan(8);
});

test("the Python file is Python", async () => {
  const file = new URL("../../../www/notebook/attnscope.py", import.meta.url).pathname;
  const compiled = spawnSync("python3", ["-c", "import sys; compile(open(sys.argv[1]).read(), 'attnscope.py', 'exec')", file]);
  expect(compiled.error ?? compiled.stderr.toString()).toBe("");
});
