// A server of models on another origin of this machine, that misbehaves as asked.
import { createServer } from "node:http";

const HEADERS = { "Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "ETag, Content-Range, Accept-Ranges" };

export class Elsewhere {
  // `files` by path; `tricks` by path: a function (request, response, body, times asked) that answers and returns true, or
  // returns false for the plain answer.
  constructor(files, tricks = {}) {
    this.files = files;
    this.tricks = tricks;
    this.asked = [];
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

  times(path) {
    return this.asked.filter((each) => each.path === path).length;
  }

  answer(request, response) {
    const path = request.url.slice(1);
    this.asked.push({ path, range: request.headers.range ?? null, method: request.method });
    const body = this.files[path];
    if (body === undefined) return void response.writeHead(404, HEADERS).end("no such file");
    if (this.tricks[path]?.(request, response, body, this.times(path))) return;
    plain(request, response, body);
  }
}

// What a good server does, ranges included.
export function plain(request, response, body, headers = {}) {
  const range = /^bytes=(\d+)-$/.exec(request.headers.range ?? "");
  const from = range ? Number(range[1]) : 0;
  if (range && from >= body.length) return response.writeHead(416, { ...HEADERS, "Content-Range": `bytes */${body.length}` }).end();
  const part = body.subarray(from);
  const all = { ...HEADERS, ETag: '"one"', "Content-Type": "application/octet-stream", "Content-Length": part.length, ...headers };
  if (range) all["Content-Range"] = `bytes ${from}-${body.length - 1}/${body.length}`;
  response.writeHead(range ? 206 : 200, all);
  response.end(request.method === "HEAD" ? undefined : part);
}

// Sends `part` of what it announces and breaks the connection.
export function broken(response, body, part, headers = {}) {
  response.writeHead(200, { ...HEADERS, ETag: '"one"', "Content-Length": body.length, ...headers });
  response.write(body.subarray(0, part), () => setTimeout(() => response.destroy(), 150));
}

export { HEADERS };
