// What is left behind, and what happens at once: buffers and memory after many models, commands that overtake each other,
// two tabs, a hidden tab.
import { test as base, expect } from "@playwright/test";
import { Playground } from "../pages/playground.js";
import { inject, record, truth, worker } from "../pages/faults.js";

const test = base.extend({ playground: async ({ page }, use) => use(new Playground(page)) });

test.describe.configure({ timeout: 400_000 });

const TIMES = Number(process.env.ATTNSCOPE_LEAK_TIMES ?? (process.env.ATTNSCOPE_RELIABILITY ? 50 : 8));
const MODELS = ["stories-3m", "circuits-2m"];
const link = (model, prompt, n = 8) => `v=1&m=${model}&p=${encodeURIComponent(prompt)}&a=softmax&b=alibi(strength:2),softmax&n=${n}`;
const LEFT = "models loaded, run, continued and left";
const OVERTAKEN = "experiments that overtake each other, in every phase";
const TABS = "tabs that load the same model at once";
const HIDDEN = "hidden tab while a text is written";
const rows = [];

const go = (playground, page, hash) => playground.rerun(() => page.evaluate((hash) => void (location.hash = hash), hash));
const bytes = (of) => of.evaluate(() => self.memories.reduce((sum, memory) => sum + memory.buffer.byteLength, 0));
const mib = (count) => `${(count / 2 ** 20).toFixed(1)} MiB`;

// A text may end before it is as long as was wished.
async function write(page) {
  await page.getByTestId("write-go").click();
  await expect(page.getByTestId("written").first()).toHaveAttribute("data-count", /^[1-9]/, { timeout: 120_000 });
  await expect(page.getByTestId("write")).toHaveAttribute("data-writing", "false", { timeout: 120_000 });
}

test(`${TIMES} models loaded, run, continued and left give back every buffer`, async ({ playground, page }) => {
  test.setTimeout(3_600_000);
  await inject(page, {});
  await playground.open(link(MODELS[0], "once upon a time"));
  await expect(playground.engine).toHaveAttribute("data-tier", /webgpu/);
  const live = () => worker(page).evaluate(() => self.fault.live.size);
  const seen = [];
  for (let time = 0; time < TIMES; time++) {
    if (time > 0) await go(playground, page, link(MODELS[time % 2], `once upon a time ${time}`));
    await write(page);
    seen.push({ live: await live(), worker: await bytes(worker(page)), page: await bytes(page) });
  }
  // The second round has made everything that is made once.
  const [early, late] = [seen.slice(2, 4), seen.slice(-2)];
  const most = (list, key) => Math.max(...list.map((one) => one[key]));
  expect(early[0].live, "the shim counts").toBeGreaterThan(10);
  expect(most(late, "live")).toBeLessThanOrEqual(most(early, "live"));
  for (const realm of ["worker", "page"]) expect(most(late, realm) - most(early, realm)).toBeLessThan(24 * 2 ** 20);
  rows.push([LEFT, String(TIMES), `live GPU buffers ${most(early, "live")} → ${most(late, "live")}; memory of the engine ${mib(most(early, "worker"))} → ${mib(most(late, "worker"))}, of the page ${mib(most(early, "page"))} → ${mib(most(late, "page"))}`]);
});

test("whatever is overtaken, the newest experiment is on screen with its numbers", async ({ playground, page }) => {
  await inject(page, {});
  const prompts = ["the fox", "the old fox sat", "the old fox sat by the river and said", "once upon a time there was"];
  // While the model comes, while a run is under way, while a text is written, while probes run.
  await page.goto(`./#${link("stories-3m", prompts[0])}`);
  const phases = {
    "while the model is fetched": async () => {},
    "while a run is under way": async () => page.evaluate((hash) => void (location.hash = hash), link("stories-3m", prompts[1])),
    "while a text is written": async () => page.getByTestId("write-go").click(),
    "while head roles are probed": async () => playground.tab("roles").click(),
    "while another model is opened": async () => page.evaluate((hash) => void (location.hash = hash), link("circuits-2m", prompts[1])),
  };
  let count = 0;
  for (const [phase, begin] of Object.entries(phases)) {
    await begin();
    for (const prompt of [...prompts].reverse()) {
      await page.evaluate((hash) => void (location.hash = hash), link("stories-3m", prompt, 100));
      await page.waitForTimeout(15);
      count += 1;
    }
    await playground.settled();
    const expected = truth(link("stories-3m", prompts[0]));
    expect(await playground.number(playground.pane("b"), "data-loss"), phase).toBeCloseTo(expected.panes[1].loss, 3);
    expect(await playground.tokens.count(), phase).toBe(expected.tokens.length);
  }
  rows.push([OVERTAKEN, String(count), "the newest one's numbers, those of the command line"]);
});

test("two tabs load the same model at once", async ({ playground, page, context }) => {
  const other = await context.newPage();
  const second = new Playground(other);
  await Promise.all([inject(page, {}), inject(other, {})]);
  const hash = link("stories-3m", "the old fox");
  await Promise.all([playground.open(hash), second.open(hash)]);
  const number = (of) => of.number(of.difference, "data-kl");
  expect(await number(playground)).toBe(await number(second));
  await other.close();
  await go(playground, page, link("stories-3m", "the old fox again"));
  rows.push([TABS, "2", "equal numbers in both; one closed, the other goes on"]);
});

test("a hidden tab draws nothing", async ({ playground, page }) => {
  await playground.open(link("stories-3m", "once upon a time", 400));
  const hide = (hidden) => page.evaluate((hidden) => {
    Object.defineProperty(document, "hidden", { get: () => hidden, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
  }, hidden);
  const written = page.getByTestId("written").first();
  const count = async () => Number(await written.getAttribute("data-count"));
  await page.getByTestId("write-go").click();
  await expect(written).toHaveAttribute("data-count", /^[1-9]/);
  await hide(true);
  // What is under way comes; then nothing does.
  await page.waitForTimeout(800);
  const rest = await count();
  await page.waitForTimeout(1500);
  expect(await count()).toBe(rest);
  await hide(false);
  await expect.poll(count, { timeout: 60_000 }).toBeGreaterThan(rest);
  rows.push([HIDDEN, "1", "it pauses within a burst and goes on when seen"]);
});

test.afterAll(() => {
  record("leaks", {
    title: "Leaks and concurrency",
    text: "Buffers are counted between the engine and navigator.gpu, memory is that of the WebAssembly instances, after the second round and at the end.",
    columns: ["What was done", "Times", "What was found"],
    rows,
  }, [LEFT, OVERTAKEN, TABS, HIDDEN]);
});
