// What leaves the page is what is on screen: every file is read back and compared, every text is run.
import { execFileSync, spawnSync } from "node:child_process";
import { copyFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { Export, csv, npz } from "../pages/export.js";
import { Figures } from "../pages/figures.js";
import { test, expect } from "../pages/test.js";

const HASH = "v=1&m=stories-3m&p=Tom%20said%2C%20%22yes%20%26%20no%22%20%3Cb%3E.&a=softmax&b=streaming_window(sinks:0,window:4),softmax&pin=L1H5&q=5&k=4";

const sum = (values) => values.filter((value) => !Number.isNaN(value) && value !== null).reduce((a, b) => a + Number(b), 0);

test.use({ permissions: ["clipboard-read", "clipboard-write"] });

test.beforeEach(async ({ playground, page }) => {
  await playground.open(HASH);
  await page.getByTestId("export").click();
});

test("numbers: CSV, JSON and npz hold what the matrices show", async ({ playground, page }) => {
  const wares = new Export(page);
  const tokens = await playground.number(playground.matrix("a"), "data-tokens");
  const shown = {};
  for (const [word, name] of [["a", "a"], ["b", "b"], ["d", "difference"]]) shown[name] = await playground.number(playground.matrix(word), "data-sum");
  const value = await playground.number(playground.matrix("a"), "data-value");

  const rows = csv((await wares.file("matrices-csv")).bytes.toString());
  expect(rows).toHaveLength(tokens * tokens);
  expect(sum(rows.map((row) => row.a))).toBeCloseTo(shown.a, 3);
  expect(sum(rows.map((row) => row.b))).toBeCloseTo(shown.b, 3);
  expect(sum(rows.map((row) => Math.abs(row.difference)))).toBeCloseTo(shown.difference, 3);
  expect(Number(rows.find((row) => row.query === "5" && row.key === "4").a)).toBeCloseTo(value, 6);
  // A masked pair is empty, not 0; tokens are as they are.
  expect(rows.find((row) => row.query === "0" && row.key === "3").a).toBe("");
  expect(rows.map((row) => row.key_token).join("")).toContain('"');

  const { matrices, numbers, wall, link, record } = JSON.parse((await wares.file("json")).bytes);
  expect(matrices.map((matrix) => matrix.name)).toEqual(["a", "b", "difference"]);
  expect(sum(matrices[0].values)).toBeCloseTo(shown.a, 3);
  expect(matrices[0].head).toBe("L1H5");
  expect(numbers.panes[0].loss).toBeCloseTo(await playground.number(playground.pane("a"), "data-loss"), 5);
  expect(numbers.panes[1].kl_next).toBeCloseTo(await playground.number(playground.difference, "data-kl"), 6);
  // Everything that must be equal for the numbers to come again.
  for (const key of ["build", "model", "model_sha256", "engine", "adapter", "backend", "self_check_passed", "seed"]) expect(record[key], key).toBeDefined();
  expect(record.mechanisms.softmax).toMatch(/^[0-9a-f]{8}$/);
  expect(new URL(link).hash).toContain("pin=L1H5");
  const heads = await playground.heads.evaluateAll((all) => all.map((head) => Number(head.dataset.value)));
  expect(wall.values).toHaveLength(heads.length);
  for (const [index, each] of wall.values.entries()) expect(each).toBeCloseTo(heads[index], 5);
  const heads2 = csv((await wares.file("wall-csv")).bytes.toString());
  expect(Number(heads2[7].sink_mass)).toBeCloseTo(heads[7], 5);

  const arrays = npz((await wares.file("npz")).bytes);
  expect(arrays.a.shape).toEqual([tokens, tokens]);
  expect(sum(arrays.a.values)).toBeCloseTo(shown.a, 3);
  expect(sum(arrays.difference.values.map(Math.abs))).toBeCloseTo(shown.difference, 3);
  expect(arrays.a.values[5 * tokens + 4]).toBeCloseTo(value, 6);
  const [layers, perLayer] = arrays["a.pattern"].shape;
  expect(layers * perLayer).toBe(heads.length);
});

test("figures: SVG and PNG of the matrices and the wall, with legend and provenance", async ({ page, playground }) => {
  const wares = new Export(page);
  for (const [ware, maps] of [["matrices", 3], ["wall", await playground.heads.count()]]) {
    const svg = await wares.file(`${ware}-svg`);
    const facts = await page.evaluate((text) => {
      const image = new DOMParser().parseFromString(text, "image/svg+xml");
      const words = [...image.querySelectorAll("text")].map((each) => each.textContent);
      return { broken: image.querySelector("parsererror")?.textContent ?? null, words, colourless: image.querySelectorAll("[fill='']").length, width: Number(image.documentElement.getAttribute("width")), groups: image.querySelectorAll("g[shape-rendering]").length, about: image.querySelector("desc").textContent };
    }, svg.bytes.toString());
    expect(facts.broken).toBeNull();
    expect(facts.colourless).toBe(0);
    const words = facts.words.join("\n");
    expect(words).toContain("stories-3m");
    expect(words).toContain('Tom said, "yes & no" <b>.');
    expect(words).toMatch(/Pattern.*linear|square-root/);
    expect(words).toContain("masked");
    expect(facts.about).toContain("#v=1");
    expect(facts.groups).toBeGreaterThan(maps);
    const png = await wares.file(`${ware}-png`);
    expect(png.bytes.subarray(1, 4).toString()).toBe("PNG");
    expect(png.bytes.readUInt32BE(16)).toBe(2 * facts.width);
    // Something is drawn on it.
    const colours = await page.evaluate(async (bytes) => {
      const image = await createImageBitmap(new Blob([new Uint8Array(bytes)], { type: "image/png" }));
      const canvas = new OffscreenCanvas(image.width, image.height);
      const context = canvas.getContext("2d");
      context.drawImage(image, 0, 0);
      const seen = new Set(new Uint32Array(context.getImageData(0, 0, image.width, image.height).data.buffer));
      return seen.size;
    }, [...png.bytes]);
    expect(colours).toBeGreaterThan(20);
  }
});

test("the HTML page opens from disk and asks for nothing", async ({ page, context, playground }, info) => {
  const file = await new Export(page).file("html");
  const loss = await playground.number(playground.pane("a"), "data-loss");
  const alone = await context.newPage();
  const asked = [];
  alone.on("request", (request) => asked.push(request.url()));
  const path = info.outputPath("figure.html");
  copyFileSync(file.path, path);
  await alone.goto(pathToFileURL(path).href);
  await expect(alone.locator("svg")).toHaveCount(2);
  await expect(alone.locator("h1")).toContainText("L1H5");
  const data = JSON.parse(await alone.locator("#data").textContent());
  expect(data.numbers.panes[0].loss).toBeCloseTo(loss, 5);
  expect(asked.filter((url) => url.startsWith("http"))).toEqual([]);
});

test("the command line prints the number on screen, and the Python text is Python", async ({ page, playground }) => {
  const wares = new Export(page);
  const command = (await wares.copied("command")).split("\n").find((line) => line.startsWith("attnscope "));
  const kl = await playground.number(playground.difference, "data-kl");
  const [, address] = /^attnscope run '(.*)'$/.exec(command);
  const cli = process.env.ATTNSCOPE_CLI;
  test.skip(!cli, "without ATTNSCOPE_CLI there is nothing to run");
  const outcome = JSON.parse(execFileSync(cli, ["run", address.replaceAll(String.raw`'\''`, "'")], { cwd: new URL("../../..", import.meta.url), maxBuffer: 1 << 28 }));
  expect(outcome.panes[1].versus_a.kl_next).toBeCloseTo(kl, 4);
  expect(outcome.panes[0].loss).toBeCloseTo(await playground.number(playground.pane("a"), "data-loss"), 4);

  const python = await wares.copied("python");
  expect(python).toContain("output_attentions=True");
  const compiled = spawnSync("python3", ["-c", "import sys; compile(sys.stdin.read(), 'snippet', 'exec')"], { input: python });
  expect(compiled.error ?? compiled.stderr.toString()).toBe("");
});

test("the element shows the same in another page", async ({ page, context, playground, baseURL }) => {
  const element = await new Export(page).copied("element");
  const expected = await playground.number(playground.matrix("b"), "data-sum");
  const figures = new Figures(await context.newPage(), new URL(baseURL).origin);
  await figures.host(element.replace(/^<script.*\n/, "").replace("<attn-scope", "<attn-scope eager"));
  await figures.settled(0);
  const shown = figures.inside(0).locator("[data-test=matrix][data-pane=b]");
  await expect(shown).toHaveAttribute("data-head", "L1H5");
  expect(Number(await shown.getAttribute("data-sum"))).toBeCloseTo(expected, 4);
  await figures.close();
});
