// Browser tests of the whole page. `cargo task test --only e2e` builds it, serves it and sets ATTNSCOPE_URL; with the
// variable unset, a bundle that `cargo task build` left in dist/ is served from here.
import { readFileSync } from "node:fs";
import { defineConfig } from "@playwright/test";

const browser = JSON.parse(readFileSync(new URL("../wasm/webdriver.json", import.meta.url), "utf8"));
const args = browser["goog:chromeOptions"].args.filter((flag) => !flag.startsWith("--headless"));
const port = 8099;
const address = new URL(process.env.ATTNSCOPE_URL ?? `http://127.0.0.1:${port}/`);

// No flag of current Chromium removes `navigator.gpu`, but a page from a host that is neither local nor encrypted has
// none, neither in the page nor in its workers. (Such a page has no clipboard either.)
const plain = new URL(address);
plain.hostname = "attnscope.test";
const withoutGpu = args.filter((flag) => !flag.includes("webgpu"));
withoutGpu.push(`--host-resolver-rules=MAP ${plain.hostname} ${address.hostname}`);

const launch = (flags) => ({ executablePath: process.env.ATTNSCOPE_CHROMIUM ?? "/usr/bin/chromium", args: flags });

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
    testIdAttribute: "data-test",
    viewport: { width: 1440, height: 900 },
    // Each test starts with an empty browser; only the tests about it keep the page on the device.
    serviceWorkers: "block",
    trace: "retain-on-failure",
  },
  projects: [
    // The page on a software GPU, where everything is tested, and the main job in a browser without WebGPU.
    { name: "webgpu", use: { baseURL: address.href, launchOptions: launch(args) } },
    { name: "cpu", testMatch: /main-job/, grepInvert: /engine gpu/, use: { baseURL: plain.href, launchOptions: launch(withoutGpu) } },
  ],
  webServer: process.env.ATTNSCOPE_URL
    ? undefined
    : { command: `cargo task serve --no-build --port ${port}`, cwd: "../..", port, reuseExistingServer: true },
});
