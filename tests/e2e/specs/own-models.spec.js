// Models of the visitor's own: from files, from another host that misbehaves, kept in the browser, named in links.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test as base, expect } from "@playwright/test";
import { Elsewhere, HEADERS, broken, plain } from "../pages/elsewhere.js";
import { Playground } from "../pages/playground.js";

const root = new URL("../../../", import.meta.url).pathname;
const folder = process.env.ATTNSCOPE_SHARED === "none" ? null : join(process.env.ATTNSCOPE_SHARED ?? join(root, "../shared"), "fixtures");
const shipped = (name) => readFileSync(join(root, "www/models/circuits-2m", name));
const LLAMA = ["config.json", "tokenizer.json", "model.safetensors"];
const HASH = /~[0-9a-f]{16}/;

// The console of these pages tells of answers that are meant to fail, so only what the page throws counts.
const test = base.extend({
  playground: async ({ page }, use) => {
    const playground = new Playground(page);
    await use(playground);
    expect(playground.failures.filter((line) => line.startsWith("page:"))).toEqual([]);
  },
  elsewhere: async ({}, use) => {
    const servers = [];
    await use(async (files, tricks) => {
      servers.push(await new Elsewhere(files, tricks).open());
      return servers.at(-1);
    });
    for (const server of servers) await server.close();
  },
});

const files = () => Object.fromEntries(LLAMA.map((name) => [`small/${name}`, shipped(name)]));
const arriving = (page) => page.getByTestId("arriving");

async function fetchFrom(page, address) {
  if (!(await page.getByTestId("model-address").isVisible())) await page.getByTestId("model").click();
  await page.getByTestId("model-address").fill(address);
  await page.getByTestId("fetch-model").click();
}

async function arrives(page) {
  await expect(arriving(page)).toHaveAttribute("data-state", "arrived", { timeout: 60_000 });
}

async function refusal(page) {
  await expect(arriving(page)).toHaveAttribute("data-state", "failed", { timeout: 60_000 });
  return page.getByTestId("model-refusal").innerText();
}

// Every value that the counter of bytes ever shows.
async function watchBytes(page) {
  await page.evaluate(() => {
    window.shown = [];
    new MutationObserver(() => {
      const counter = document.querySelector("[data-test=arriving-bytes]");
      if (counter) window.shown.push([Number(counter.dataset.bytes), Number(counter.dataset.total ?? NaN)]);
    }).observe(document.querySelector("[data-test=arriving]"), { subtree: true, childList: true, attributes: true });
  });
  return () => page.evaluate(() => window.shown);
}

function command(experiment, model) {
  const cli = process.env.ATTNSCOPE_CLI;
  if (!cli) return null;
  const input = JSON.stringify({ ...experiment, model });
  return JSON.parse(execFileSync(cli, ["run", "-"], { input, cwd: root, maxBuffer: 1 << 28 }));
}

test("files dropped on the dialog become the model, with the numbers of the command line", async ({ playground, page }) => {
  test.skip(!folder, "needs shared/fixtures");
  const names = ["stories260K.bin", "tok512.bin"];
  const contents = names.map((name) => readFileSync(join(folder, "llama2c", name)));
  await playground.open();
  const asked = [];
  page.on("request", (request) => asked.push(request.url()));
  await page.getByTestId("model").click();
  const drop = page.getByTestId("drop");
  await expect(drop).toBeVisible();
  const data = await page.evaluateHandle((files) => {
    const data = new DataTransfer();
    for (const [name, base64] of files) data.items.add(new File([Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))], name));
    return data;
  }, names.map((name, index) => [name, contents[index].toString("base64")]));
  await drop.dispatchEvent("drop", { dataTransfer: data });
  await expect(arriving(page)).toHaveAttribute("data-state", "offered");
  await expect(arriving(page)).toContainText("5 layers × 8 heads");
  await expect(page.getByTestId("memory")).toContainText(/about [\d.]+ MB of memory/);
  await playground.rerun(() => page.getByTestId("load-files").click());
  await arrives(page);
  const hash = createHash("sha256").update(Buffer.concat(contents)).digest("hex");
  await expect(page.getByTestId("arrived-hash")).toContainText(hash.slice(0, 16));
  await expect(page).toHaveURL(new RegExp(`m=local:stories260K~${hash.slice(0, 16)}`));
  await page.keyboard.press("Escape");
  await playground.type("Once upon a time there was a little dog named Max");
  const loss = await playground.number(playground.pane("a"), "data-loss");
  const kl = await playground.number(playground.difference, "data-kl");
  const experiment = { prompt: "Once upon a time there was a little dog named Max", panes: [{ stack: [{ id: "softmax" }] }, { stack: [{ id: "streaming_window", values: { sinks: 0, window: 8 } }, { id: "softmax" }] }] };
  const outcome = command(experiment, join(folder, "llama2c", "stories260K.bin"));
  if (outcome) {
    expect(loss).toBeCloseTo(outcome.panes[0].loss, 4);
    expect(kl).toBeCloseTo(outcome.panes[1].versus_a.kl_next, 4);
  }
  // Files never leave the tab.
  expect(asked.filter((url) => /^https?:/.test(url) && new URL(url).origin !== new URL(page.url()).origin)).toEqual([]);

  // It was kept, so its link opens again; removed, the link says what it needs and takes the files.
  const link = page.url();
  await page.reload();
  await playground.settled();
  expect(await playground.number(playground.pane("a"), "data-loss")).toBeCloseTo(loss, 5);
  await page.getByTestId("model").click();
  await page.getByTestId("forget").click();
  await expect(page.getByTestId("kept")).toHaveCount(0);
  await page.goto("about:blank");
  await page.goto(link);
  const absent = page.getByTestId("model-absent");
  await expect(absent).toContainText("stories260K");
  await expect(absent).toContainText(hash.slice(0, 16));
  await page.getByTestId("give-model").click();
  await page.getByTestId("choose-files").setInputFiles(names.map((name) => join(folder, "llama2c", name)));
  await page.getByTestId("load-files").click();
  await playground.settled();
  await expect(absent).toHaveCount(0);
  expect(await playground.number(playground.pane("a"), "data-loss")).toBeCloseTo(loss, 5);
});

test("what is no model, or none that runs here, is refused with the reason", async ({ playground, page }) => {
  await playground.open();
  const before = await playground.candidates("a");
  await page.getByTestId("model").click();
  const own = mkdtempSync(join(tmpdir(), "attnscope-"));
  const write = (name, text) => {
    writeFileSync(join(own, name), text);
    return join(own, name);
  };
  const give = (paths) => page.getByTestId("choose-files").setInputFiles(paths);
  await give([write("poem.txt", "roses")]);
  expect(await refusal(page)).toContain("holds no model");
  await give([write("config.json", "{ not json")]);
  expect(await refusal(page)).toContain("config.json");
  await give([write("config.json", '{"model_type": "mamba"}')]);
  expect(await refusal(page)).toContain("mamba");
  await give([write("tiny.bin", "too short")]);
  expect(await refusal(page)).toContain("truncated");
  // Weights are looked at when they are loaded: the page says so and keeps the old model's choice in reach.
  const config = write("config.json", shipped("config.json"));
  const tokenizer = write("tokenizer.json", shipped("tokenizer.json"));
  const weights = write("model.safetensors", shipped("model.safetensors").subarray(0, 100_000));
  await give([config, tokenizer, weights]);
  await page.getByTestId("load-files").click();
  await expect(page.getByTestId("engine-trouble")).toContainText("damaged or truncated", { timeout: 30_000 });
  await page.keyboard.press("Escape");
  await page.goBack();
  await playground.settled();
  expect(await playground.candidates("a")).toEqual(before);
});

test("a model is fetched from an address: sizes first, bytes that only grow, kept, and offered by its link", async ({ playground, page, elsewhere }) => {
  const weights = shipped("model.safetensors");
  const server = await elsewhere(files(), {
    // Slowly, a sixteenth at a time.
    "small/model.safetensors": (request, response, body) => {
      response.writeHead(200, { ...HEADERS, "Content-Length": body.length, ETag: '"one"' });
      let at = 0;
      const step = Math.ceil(body.length / 16);
      const timer = setInterval(() => {
        response.write(body.subarray(at, at + step));
        at += step;
        if (at >= body.length) {
          clearInterval(timer);
          response.end();
        }
      }, 60);
      return true;
    },
  });
  await playground.open();
  const asked = [];
  page.on("request", (request) => asked.push(request.url()));
  await page.getByTestId("model").click();
  expect(server.asked).toEqual([]);
  const shown = await watchBytes(page);
  await fetchFrom(page, `${server.base}small/`);
  await expect(arriving(page)).toContainText("4 layers × 6 heads");
  await expect(page.getByTestId("memory")).toContainText("of memory");
  await arrives(page);
  const counts = await shown();
  expect(counts.length).toBeGreaterThan(8);
  for (const [index, [bytes]] of counts.entries()) expect(bytes).toBeGreaterThanOrEqual(counts[Math.max(0, index - 1)][0]);
  const total = weights.length + shipped("config.json").length + shipped("tokenizer.json").length;
  expect(counts.at(-1)).toEqual([total, total]);
  await expect(page).toHaveURL(HASH);
  await playground.settled();
  const kept = await playground.candidates("a");
  // The same weights as the shipped model's, so the same numbers.
  const link = page.url();
  await page.keyboard.press("Escape");
  await page.goto(`./#${playground.hash().replace(/m=[^&]*/, "m=circuits-2m")}`);
  await playground.settled();
  expect(await playground.candidates("a")).toEqual(kept);

  const times = server.asked.length;
  await page.goto("about:blank");
  await page.goto(link);
  await playground.settled();
  expect(server.asked.length, "a kept model is not fetched again").toBe(times);

  // In a browser that does not have it, the link asks before it fetches.
  await page.getByTestId("model").click();
  await page.getByTestId("forget").click();
  await expect(page.getByTestId("kept")).toHaveCount(0);
  await page.goto("about:blank");
  await page.goto(link);
  await expect(page.getByTestId("model-absent")).toContainText(/hash [0-9a-f]{16}/);
  expect(server.asked.length, "nothing is fetched unasked").toBe(times);
  await page.getByTestId("load-model").click();
  await arrives(page);
  await playground.settled();
  expect(await playground.candidates("a")).toEqual(kept);
  const origins = new Set(asked.filter((url) => /^https?:/.test(url)).map((url) => new URL(url).origin));
  expect([...origins].sort()).toEqual([new URL(page.url()).origin, new URL(server.base).origin].sort());
});

test("a download that breaks goes on where it stopped; a stopped one after a reload", async ({ playground, page, elsewhere }) => {
  const half = Math.floor(shipped("model.safetensors").length / 2);
  const hold = { on: true };
  const server = await elsewhere(files(), {
    "small/model.safetensors": (request, response, body, times) => {
      if (times === 1) return broken(response, body, half), true;
      if (hold.on && request.headers.range) {
        // Some more, then silence.
        const from = Number(/\d+/.exec(request.headers.range)[0]);
        response.writeHead(206, { ...HEADERS, ETag: '"one"', "Content-Length": body.length - from, "Content-Range": `bytes ${from}-${body.length - 1}/${body.length}` });
        response.write(body.subarray(from, from + 1000));
        return true;
      }
      return false;
    },
  });
  await playground.open();
  await page.getByTestId("model").click();
  await fetchFrom(page, `${server.base}small/`);
  await expect.poll(() => server.asked.filter(({ path, range }) => path.endsWith("model.safetensors") && range).length).toBeGreaterThan(0);
  expect(Number(/\d+/.exec(server.asked.at(-1).range)[0])).toBe(half);
  await expect.poll(async () => Number(await page.getByTestId("arriving-bytes").getAttribute("data-bytes"))).toBeGreaterThan(half);
  await page.getByTestId("stop-model").click();
  expect(await refusal(page)).toContain("stopped");
  await expect(page.locator("[data-test=kept][data-complete=false]")).toBeVisible();
  hold.on = false;
  await page.reload();
  await playground.settled();
  await page.getByTestId("model").click();
  await page.getByTestId("resume").click();
  await arrives(page);
  const last = server.asked.filter(({ path }) => path.endsWith("model.safetensors")).at(-1);
  expect(Number(/\d+/.exec(last.range)[0]), "goes on behind what was there before the reload").toBe(half + 1000);
  await playground.settled();
});

const bad = {
  "no such file": { tricks: {}, files: {}, says: /no config\.json/ },
  "a web page in place of the configuration": {
    tricks: { "small/config.json": (request, response) => (response.writeHead(200, { ...HEADERS, "Content-Type": "text/html" }).end("<!doctype html>"), true) },
    says: /web page/,
  },
  "a configuration that is not JSON": {
    tricks: { "small/config.json": (request, response) => (response.writeHead(200, HEADERS).end("Sign in first"), true) },
    says: /not JSON/,
  },
  "a family that is not here, before its weights are asked for": {
    files: { "small/config.json": Buffer.from('{"model_type": "gpt_neo", "architectures": ["GPTNeoForCausalLM"]}') },
    says: /gpt_neo.*not supported/,
    untouched: "small/model.safetensors",
  },
  "weights in another form only": { without: "small/model.safetensors", says: /safetensors/ },
  "a log-in": { tricks: { "small/config.json": (request, response) => (response.writeHead(401, HEADERS).end(), true) }, says: /log-in/ },
  "fewer bytes than announced, again and again": {
    tricks: { "small/model.safetensors": (request, response, body) => (broken(response, body, 0), true) },
    says: /again goes on/,
  },
};
for (const [name, { tricks = {}, files: other, without, says, untouched }] of Object.entries(bad)) {
  test(`refused with the reason: ${name}`, async ({ playground, page, elsewhere }) => {
    const all = other ? { ...(Object.keys(other).length ? files() : {}), ...other } : files();
    if (without) delete all[without];
    const server = await elsewhere(all, tricks);
    await playground.open();
    await fetchFrom(page, `${server.base}small/`);
    expect(await refusal(page)).toMatch(says);
    if (untouched) expect(server.times(untouched)).toBe(0);
    // What ran before still runs.
    await expect(playground.engine).toHaveAttribute("data-state", "ready");
  });
}

const odd = {
  "no ranges: it starts over": (request, response, body, times) => {
    if (times === 1) return broken(response, body, body.length >> 1), true;
    return plain({ ...request, headers: {} }, response, body), true;
  },
  "another version in between: it starts over": (request, response, body, times) => {
    if (times === 1) return broken(response, Buffer.alloc(body.length, 7), body.length >> 1, { ETag: '"old"' }), true;
    return false;
  },
  "busy at first": (request, response, body, times) => times === 1 && (response.writeHead(503, HEADERS).end(), true),
  "no length": (request, response, body) => {
    response.writeHead(200, { ...HEADERS, "Transfer-Encoding": "chunked" });
    response.end(body);
    return true;
  },
};
for (const [name, trick] of Object.entries(odd)) {
  test(`arrives all the same: ${name}`, async ({ playground, page, elsewhere }) => {
    const server = await elsewhere(files(), { "small/model.safetensors": trick });
    await playground.open();
    await page.getByTestId("model").click();
    const shown = await watchBytes(page);
    await fetchFrom(page, `${server.base}small/config.json`);
    await arrives(page);
    await playground.settled();
    const counts = (await shown()).map(([bytes]) => bytes);
    for (const [index, bytes] of counts.entries()) expect(bytes).toBeGreaterThanOrEqual(counts[Math.max(0, index - 1)]);
  });
}

test("weights in several files arrive, and a full disk is no hindrance", async ({ playground, page, elsewhere }) => {
  const whole = shipped("model.safetensors");
  const length = Number(whole.readBigUInt64LE(0));
  const header = JSON.parse(whole.subarray(8, 8 + length).toString());
  const names = Object.keys(header).filter((name) => name !== "__metadata__");
  const shard = (some) => {
    const [parts, own] = [[], {}];
    let at = 0;
    for (const name of some) {
      const [begin, end] = header[name].data_offsets;
      parts.push(whole.subarray(8 + length + begin, 8 + length + end));
      own[name] = { ...header[name], data_offsets: [at, at + end - begin] };
      at += end - begin;
    }
    const text = Buffer.from(JSON.stringify(own));
    const size = Buffer.alloc(8);
    size.writeBigUInt64LE(BigInt(text.length));
    return Buffer.concat([size, text, ...parts]);
  };
  const middle = names.length >> 1;
  const [one, two] = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
  const all = files();
  delete all["small/model.safetensors"];
  all[`small/${one}`] = shard(names.slice(0, middle));
  all[`small/${two}`] = shard(names.slice(middle));
  const map = Object.fromEntries(names.map((name, index) => [name, index < middle ? one : two]));
  all["small/model.safetensors.index.json"] = Buffer.from(JSON.stringify({ metadata: {}, weight_map: map }));
  const server = await elsewhere(all);
  // The browser gives the page a megabyte and no more.
  const session = await page.context().newCDPSession(page);
  const origin = new URL(test.info().project.use.baseURL).origin;
  await session.send("Storage.overrideQuotaForOrigin", { origin, quotaSize: 1e6 });
  await playground.open();
  await fetchFrom(page, `${server.base}small/`);
  await arrives(page);
  await expect(arriving(page)).toContainText("not kept in this browser: its storage is full");
  await playground.settled();
  await page.keyboard.press("Escape");
  const sharded = await playground.candidates("a");
  await page.goto(`./#${playground.hash().replace(/m=[^&]*/, "m=circuits-2m")}`);
  await playground.settled();
  expect(sharded).toEqual(await playground.candidates("a"));
});

test("only the keeper may ask other hosts", async ({ request, page }) => {
  const policy = async (file) => (await request.get(file)).headers()["content-security-policy"];
  expect(await policy("keeper.js")).toContain("connect-src 'self' https:");
  for (const file of ["./", "app.js", "worker.js", "engine.html", "embed.html"]) expect(await policy(file)).not.toContain("connect-src");
  await page.goto("./");
  const asked = await page.evaluate(() => fetch("https://huggingface.co/").then(() => "answered", (problem) => problem.name));
  expect(asked).toBe("TypeError");
});

test("matrices rounded to bytes are another model, in the link and back again", async ({ playground, page }) => {
  await playground.open("", "?engine=cpu");
  const engine = page.getByTestId("engine");
  await expect(engine).toHaveAttribute("data-self-check", /./);
  const loss = async () => Number(await page.getByTestId("pane").first().getAttribute("data-loss"));
  const whole = await loss();
  await page.getByTestId("model").click();
  await page.getByTestId("int8").check();
  // What the files say of their numbers no longer holds, so that there is nothing to check.
  await expect(engine).not.toHaveAttribute("data-self-check", /./, { timeout: 60_000 });
  await playground.settled();
  const rounded = await loss();
  expect(rounded).not.toBe(whole);
  expect(Math.abs(rounded - whole)).toBeLessThan(0.2);
  expect(decodeURIComponent(playground.hash())).toContain("m=stories-3m@int8");
  await page.getByTestId("int8").uncheck();
  await expect.poll(loss, { timeout: 60_000 }).toBe(whole);
  await page.goto("about:blank");
  await playground.open("m=stories-3m%40int8&p=One%20day&a=", "?engine=cpu");
  await expect(page.getByTestId("model")).toContainText("stories-3m int8");
});
