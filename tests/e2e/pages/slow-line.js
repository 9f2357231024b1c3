// The bundle as a static host sends it, compressed beforehand, over a line that all connections share.
//
// The browser's own throttle does not reach what a worker fetches, so the line is slow here.
import { readFileSync, readdirSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join, relative } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { brotliCompressSync, constants } from "node:zlib";

const TYPES = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".css": "text/css",
  ".json": "application/json",
  ".svg": "image/svg+xml",
  ".wasm": "application/wasm",
  ".webmanifest": "application/manifest+json",
};
const PIECE = 16 * 1024;

export class SlowLine {
  // Bytes sent since it opened.
  sent = 0;
  free = 0;

  constructor(root, { bytesPerSecond, latency }) {
    Object.assign(this, { bytesPerSecond, latency, files: compressed(root) });
  }

  async open() {
    this.server = createServer((request, response) => this.answer(request, response));
    await new Promise((resolve) => this.server.listen(0, "127.0.0.1", resolve));
    this.base = `http://127.0.0.1:${this.server.address().port}/`;
    return this;
  }

  async close() {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  async answer(request, response) {
    const path = new URL(request.url, this.base).pathname.slice(1) || "index.html";
    const file = this.files.get(path);
    await wait(this.latency);
    if (!file) return void response.writeHead(404).end("no such file");
    response.writeHead(200, file.headers);
    for (let from = 0; from < file.body.length && !response.destroyed; from += PIECE) {
      const piece = file.body.subarray(from, from + PIECE);
      this.free = Math.max(this.free, performance.now()) + (1000 * piece.length) / this.bytesPerSecond;
      await wait(this.free - performance.now());
      this.sent += piece.length;
      response.write(piece);
    }
    response.end();
  }
}

function compressed(root) {
  const files = readdirSync(root, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return new Map(
    files.map((entry) => {
      const path = join(entry.parentPath, entry.name);
      const [type, body] = [TYPES[extname(path)], readFileSync(path)];
      // A host compresses at 11, which takes half a minute; 5 sends a sixth more.
      const quality = { params: { [constants.BROTLI_PARAM_QUALITY]: 5 } };
      const sent = type
        ? { body: brotliCompressSync(body, quality), headers: { "content-type": type, "content-encoding": "br" } }
        : { body, headers: { "content-type": "application/octet-stream" } };
      sent.headers["content-length"] = sent.body.length;
      return [relative(root, path), sent];
    }),
  );
}
