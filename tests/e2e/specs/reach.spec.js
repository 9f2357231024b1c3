// What instruments take on the processor in the browser, against what is promised: a role report in 5 s, a head taken out in
// 150 ms, a patching grid of a 24-token prompt in 10 s. The promises are for an idle core; what else runs on the machine slows
// a plain loop as well, so the bounds stretch by how much longer than on an idle core that loop takes here.
import { test, expect } from "../pages/test.js";

const OPERATIONS = 100_000_000;
// The loop on an idle core of a laptop; a faster one does not shrink the bounds.
const IDLE_MS = 150;
// Rounding of timers, and the frame in which a number is drawn.
const SLACK = 1.5;

const loop = (operations) => {
  const start = performance.now();
  let sum = 0.5;
  for (let at = 0; at < operations; at++) sum = sum * 0.999999 + 1e-6;
  return sum > 0 ? performance.now() - start : NaN;
};

// In the page: milliseconds from a click until something holds, looked at whenever the page changes.
const runner = (press, holds) =>
  new Promise((done) => {
    const start = performance.now();
    const look = () => {
      if (!holds()) return;
      observer.disconnect();
      done(performance.now() - start);
    };
    const observer = new MutationObserver(look);
    observer.observe(document.body, { subtree: true, childList: true, attributes: true });
    document.querySelector(press).click();
    look();
  });
const timed = (page, press, holds) => page.evaluate(`(${runner})(${JSON.stringify(press)}, ${holds})`);

// Runs `measure` between two loops, prints what came, and asks for it.
async function promised(page, what, limit, measure) {
  const before = await page.evaluate(loop, OPERATIONS);
  const came = await measure();
  const after = await page.evaluate(loop, OPERATIONS);
  const slow = Math.max(1, before / IDLE_MS, after / IDLE_MS);
  const words = `${what}: ${came.toFixed(0)} ms of ${limit} ms promised, on a core ${slow.toFixed(1)} times as slow as an idle one`;
  console.log(words);
  test.info().annotations.push({ type: "measured", description: words });
  expect(came, words).toBeLessThan(limit * slow * SLACK);
}

test("a full role report, controls included, in five seconds", async ({ page, playground }) => {
  await playground.open("", "?engine=cpu");
  await promised(page, "role report of stories-3m", 5000, () =>
    timed(page, "[data-test=tab][data-tab=roles]", `() => document.querySelectorAll("[data-test=role]").length >= 9`),
  );
});

test("a head is taken out within 150 ms of the click", async ({ page, playground }) => {
  await playground.open("", "?engine=cpu");
  await playground.tab("interventions").click();
  await expect(page.getByTestId("sweep-table").locator("td[data-value]")).toHaveCount(36, { timeout: 90_000 });
  await expect(page.getByTestId("ablation")).toHaveAttribute("data-fresh", "true");
  const heads = [[5, 0], [4, 3], [3, 2], [1, 5], [0, 1]];
  await promised(page, "one head taken out, median of five", 150, async () => {
    const all = [];
    for (const [layer, head] of heads) {
      const before = await page.getByTestId("ablation-numbers").getAttribute("data-divergence");
      all.push(
        await timed(
          page,
          `[data-test=sweep-table] td[data-row="${layer}"][data-column="${head}"]`,
          `() => document.querySelector("[data-test=ablation-numbers]").dataset.divergence !== ${JSON.stringify(before)}`,
        ),
      );
    }
    console.log(`heads one after the other: ${all.map((ms) => ms.toFixed(0)).join(", ")} ms`);
    return all.sort((a, b) => a - b)[2];
  });
});

test("a patching grid of a prompt of 24 tokens in ten seconds, with progress", async ({ page, playground }) => {
  const prompt = (who) =>
    encodeURIComponent(`One day, Mary and John went to the park with a big red ball. Then ${who} wanted to give the ball to`);
  await playground.open(`p=${prompt("John")}&corrupted=${prompt("Mary")}&a=softmax&tab=interventions&act=patch`, "?engine=cpu");
  const patching = page.getByTestId("patching");
  await expect(patching).toHaveAttribute("data-fresh", "true", { timeout: 90_000 });
  expect(await playground.tokens.count()).toBeGreaterThanOrEqual(24);
  // Another site is another grid over the same two passes.
  const again = `(() => {
    let left = false;
    return () => {
      const fresh = document.querySelector("[data-test=patching]").dataset.fresh === "true";
      left ||= !fresh;
      return left && fresh;
    };
  })()`;
  await promised(page, "patching grid, layer × position, 24 tokens", 10_000, () =>
    timed(page, "[data-test=site][data-word=attn_out]", again),
  );
});
