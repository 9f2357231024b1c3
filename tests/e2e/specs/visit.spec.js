// A first visit over 20 Mbit/s: when something stands there, and when the finished example lives.
//
// The reach is 2 s and 10 s. How long this machine computes depends on what else it does, so the same visit over a fast
// line is the measure: what the slow one takes longer may be the line's own time and little more, and the line's own time
// must leave half of the ten seconds to the device.
import { fileURLToPath } from "node:url";
import { test, expect } from "../pages/test.js";
import { Playground } from "../pages/playground.js";
import { SlowLine } from "../pages/slow-line.js";

const DIST = fileURLToPath(new URL("../../../dist/", import.meta.url));
const MEGABIT = 1e6 / 8;

async function visit(browser, line) {
  const context = await browser.newContext({ serviceWorkers: "block" });
  const page = await context.newPage();
  await page.goto(line.base);
  await new Playground(page).settled();
  const times = await page.evaluate(() => ({
    paint: performance.getEntriesByName("first-contentful-paint")[0].startTime / 1000,
    live: performance.now() / 1000,
  }));
  await context.close();
  return times;
}

test("a first visit over 20 Mbit/s waits for the line and for nothing else", async ({ browser }) => {
  const line = await new SlowLine(DIST, { bytesPerSecond: 1000 * MEGABIT, latency: 0 }).open();
  const fast = await visit(browser, line);
  Object.assign(line, { bytesPerSecond: 20 * MEGABIT, latency: 20, sent: 0 });
  const slow = await visit(browser, line);
  await line.close();

  const own = line.sent / line.bytesPerSecond;
  const told = (of) => `painted after ${of.paint.toFixed(2)} s, alive after ${of.live.toFixed(2)} s`;
  console.log(`first visit: ${(line.sent / 1e6).toFixed(1)} MB; fast line: ${told(fast)}; 20 Mbit/s: ${told(slow)}`);
  expect(own, "seconds that the line needs for everything sent until then").toBeLessThan(5);
  expect(slow.paint - fast.paint, "what the first paint waits for the line").toBeLessThan(Math.max(1, fast.paint));
  expect(slow.live - fast.live, "what the finished example waits for the line").toBeLessThan(own + Math.max(3, fast.live));
});
