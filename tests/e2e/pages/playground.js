// The Playground as a test sees it: what can be done on it, and the numbers it shows.
//
// Everything is read from the DOM (`data-*` numbers and roles), never from canvas pixels.
import { expect } from "@playwright/test";

export class Playground {
  constructor(page) {
    this.page = page;
    this.work = page.getByTestId("work");
    this.prompt = page.getByTestId("prompt");
    this.tokens = page.getByTestId("token");
    this.heads = page.getByTestId("head");
    this.engine = page.getByTestId("engine");
    this.difference = page.getByTestId("difference");
    this.failures = [];
    page.on("pageerror", (error) => this.failures.push(`page: ${error.message}`));
    page.on("console", (line) => line.type() === "error" && this.failures.push(`console: ${line.text()}`));
    // Going elsewhere aborts what is still under way, the icon of the page among it; that is no failure.
    page.on("requestfailed", (request) => {
      const why = request.failure()?.errorText;
      if (why !== "net::ERR_ABORTED") this.failures.push(`request: ${request.url()} (${why})`);
    });
  }

  // `query` goes before the hash (`?engine=gpu`), `hash` is the experiment.
  async open(hash = "", query = "") {
    await this.page.goto(`./${query}${hash ? `#${hash}` : ""}`);
    await this.settled();
  }

  // The newest experiment has been run and drawn.
  async settled() {
    await expect(this.engine).toHaveAttribute("data-state", "ready", { timeout: 90_000 });
    await expect(this.work).toHaveAttribute("data-stale", "false", { timeout: 90_000 });
    await expect(this.heads.first()).toHaveAttribute("data-value", /./, { timeout: 90_000 });
  }

  // Does something that must lead to a new run, and waits for it.
  async rerun(action) {
    const before = await this.work.getAttribute("data-run");
    await action();
    await expect(this.work).not.toHaveAttribute("data-run", before ?? "", { timeout: 90_000 });
    await this.settled();
  }

  async type(text) {
    await this.rerun(async () => {
      await this.prompt.fill(text);
      await this.prompt.press("Enter");
    });
  }

  pane(word) {
    return this.page.locator(`[data-test=pane][data-pane=${word}]`);
  }

  matrix(word) {
    return this.page.locator(`[data-test=matrix][data-pane=${word}]`);
  }

  head(name) {
    return this.page.locator(`[data-test=head][data-head=${name}]`);
  }

  tab(word) {
    return this.page.locator(`[data-test=tab][data-tab=${word}]`);
  }

  param(word, key) {
    // Parameters are named `mechanism.key`.
    return this.pane(word).locator(`[data-test=param][data-param$=".${key}"]`);
  }

  async number(locator, attribute) {
    const text = await locator.getAttribute(attribute);
    return text === null ? null : Number(text);
  }

  async candidates(word) {
    const rows = this.pane(word).getByTestId("candidate");
    return rows.evaluateAll((rows) => rows.map((row) => ({ id: Number(row.dataset.tokenId), probability: Number(row.dataset.prob) })));
  }

  hash() {
    return new URL(this.page.url()).hash.slice(1);
  }
}
