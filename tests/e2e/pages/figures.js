// A page of somebody else's with figures in it: another origin, a strict content policy, no build step.
import { createServer } from "node:http";
import { expect } from "@playwright/test";

const POLICY = (origin) =>
  `default-src 'none'; script-src 'self' ${origin}; frame-src ${origin}; style-src 'self'; img-src 'self'; base-uri 'none'`;

export class Figures {
  constructor(page, origin) {
    this.page = page;
    this.origin = origin;
    this.figures = page.locator("attn-scope");
    this.failures = [];
    page.on("pageerror", (error) => this.failures.push(`page: ${error.message}`));
    page.on("console", (line) => line.type() === "error" && this.failures.push(`console: ${line.text()}`));
  }

  // Serves `html` from another origin, where `files` holds further files by path. Nothing inline would run there. The
  // page's own script runs before the element is known, so that it sees every event.
  async host(html, files = {}) {
    const head = `<!doctype html><html lang="en"><title>An article</title><script type="module" src="/page.js"></script><script type="module" src="${this.origin}/attn-scope.js"></script>`;
    const all = { "/": ["text/html", head + html], "/favicon.ico": ["image/x-icon", ""], "/page.js": ["text/javascript", files["/page.js"] ?? ""] };
    this.server = createServer((request, response) => {
      const [type, body] = all[request.url.split("?")[0]] ?? [];
      response.writeHead(body === undefined ? 404 : 200, { "Content-Type": type ?? "text/plain", "Content-Security-Policy": POLICY(this.origin) });
      response.end(body);
    });
    await new Promise((resolve) => this.server.listen(0, "127.0.0.1", resolve));
    // The same machine under another name is another origin, and a trusted one.
    this.address = `http://localhost:${this.server.address().port}`;
    await this.page.goto(this.address);
  }

  async close() {
    this.server?.closeAllConnections();
    await new Promise((resolve) => (this.server ? this.server.close(resolve) : resolve()));
  }

  inside(index) {
    return this.figures.nth(index).locator("iframe").contentFrame();
  }

  // The figure has computed what it shows.
  async settled(index) {
    const work = this.inside(index).getByTestId("work");
    await expect(work).toHaveAttribute("data-run", /[1-9]/, { timeout: 90_000 });
    await expect(work).toHaveAttribute("data-stale", "false", { timeout: 90_000 });
  }

  // Says something to a figure's frame as its holder, and returns what the frame answers under this number.
  async say(index, message, wait = 15_000) {
    return this.figures.nth(index).evaluate(
      (figure, [message, wait]) =>
        new Promise((resolve) => {
          const frame = figure.shadowRoot.querySelector("iframe");
          const hear = (event) => {
            if (event.source === frame.contentWindow && event.data.id === message.id) done(event.data);
          };
          const done = (answer) => {
            removeEventListener("message", hear);
            resolve(answer);
          };
          addEventListener("message", hear);
          setTimeout(() => done(null), wait);
          frame.contentWindow.postMessage(message, "*");
        }),
      [message, wait],
    );
  }
}
