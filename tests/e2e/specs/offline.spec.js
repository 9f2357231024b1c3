// After one visit everything works with the network off, and nothing is ever asked of anybody else.
import { test, expect } from "../pages/test.js";

test.use({ serviceWorkers: "allow" });

test("after one visit everything works with the network off", async ({ playground, page, context }) => {
  const asked = [];
  context.on("request", (request) => asked.push(request.url()));
  await playground.open();
  const offline = page.getByTestId("offline");
  await expect(offline).toHaveAttribute("data-works", "true", { timeout: 90_000 });
  await expect(offline).toContainText("offline");
  const before = await playground.candidates("a");

  await context.setOffline(true);
  await page.reload();
  await playground.settled();
  expect(await playground.candidates("a")).toEqual(before);
  await playground.type("With the network off the fox reads on.");
  await expect(playground.matrix("b")).toHaveAttribute("data-sum", /\d/);
  await page.goto(new URL("papers", page.url()).href);
  await expect(page.locator("h1")).toBeVisible();
  // A figure of the page works, too.
  await page.goto(new URL("embed.html#v=1&m=stories-3m&p=Off&a=softmax", page.url()).href);
  await expect(page.getByTestId("work")).toHaveAttribute("data-stale", "false", { timeout: 60_000 });

  const elsewhere = asked.filter((url) => /^https?:/.test(url) && new URL(url).origin !== new URL(page.url()).origin);
  expect(elsewhere).toEqual([]);
});

test("the page can be installed, and every file that is kept is there", async ({ playground, page, request }) => {
  await playground.open();
  const href = await page.locator("link[rel=manifest]").getAttribute("href");
  const manifest = await (await request.get(href)).json();
  expect(manifest).toMatchObject({ start_url: "./", display: "standalone" });
  for (const { src, sizes } of manifest.icons) {
    const icon = await request.get(src);
    expect(icon.ok(), src).toBe(true);
    if (sizes !== "any") expect((await icon.body()).readUInt32BE(16)).toBe(Number(sizes.split("x")[0]));
  }
  // Every file the worker keeps is there.
  const worker = await (await request.get("sw.js")).text();
  const files = [...worker.matchAll(/^ {2}\["([^"]+)", "[0-9a-f]{16}"\]/gm)].map(([, file]) => file);
  for (const file of ["index.html", "app.js", "app_bg.wasm", "worker_bg.wasm", "embed.html", "models/stories-3m/model.safetensors"]) expect(files).toContain(file);
  for (const file of files) expect((await request.head(file)).ok(), file).toBe(true);
});

test("a page, and a figure, say the policy they are served under", async ({ page, request }) => {
  for (const address of ["./", "embed.html", "engine.html"]) {
    const response = await request.get(address);
    const policy = response.headers()["content-security-policy"];
    expect(policy).toContain("script-src 'self' 'wasm-unsafe-eval'");
    expect(await response.text()).toContain(`content="${policy}"`);
  }
  await page.goto("embed.html#v=1&m=stories-3m&p=One&a=softmax");
  await expect(page.getByTestId("work")).toHaveAttribute("data-stale", "false", { timeout: 60_000 });
});
