// Browser tests of the whole page. `cargo task test --only e2e` builds it, serves it and sets ATTNSCOPE_URL; with the
// variable unset, a bundle that `cargo task build` left in dist/ is served from here.
import { readFileSync } from "node:fs";
import { defineConfig } from "@playwright/test";

const browser = JSON.parse(readFileSync(new URL("../wasm/webdriver.json", import.meta.url), "utf8"));
const args = browser["goog:chromeOptions"].args.filter((flag) => !flag.startsWith("--headless"));
const port = 8099;

// The same page on a software GPU, and in a browser where `navigator.gpu` does not exist.
const use = (flags) => ({
  launchOptions: { executablePath: process.env.ATTNSCOPE_CHROMIUM ?? "/usr/bin/chromium", args: flags },
});

export default defineConfig({
  testDir: "specs",
  outputDir: "report",
  // One software GPU and few cores: parallel pages would only slow each other down.
  workers: 1,
  retries: 0,
  forbidOnly: true,
  timeout: 120_000,
  expect: { timeout: 30_000 },
  use: {
    baseURL: process.env.ATTNSCOPE_URL ?? `http://127.0.0.1:${port}/`,
    viewport: { width: 1440, height: 900 },
    trace: "retain-on-failure",
  },
  projects: [
    { name: "webgpu", use: use(args) },
    { name: "cpu", use: use([...args.filter((flag) => !flag.includes("webgpu")), "--disable-blink-features=WebGPU"]) },
  ],
  webServer: process.env.ATTNSCOPE_URL
    ? undefined
    : { command: `cargo task serve --no-build --port ${port}`, cwd: "../..", port, reuseExistingServer: true },
});
