// attnscope's engine worker and its peers of the web, in one page of a headless browser.

import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const HERE = path.dirname(fileURLToPath(import.meta.url));
const CPU = ['attnscope cpu', 'onnxruntime-web wasm', 'wllama cpu'];
const GPU = ['attnscope gpu', 'onnxruntime-web webgpu'];

/** Which programs of the web are meant: those of the list, or the usual ones. */
export const webs = (given, gpu) => (given ?? (gpu ? GPU : CPU)).filter((name) => [...CPU, ...GPU].includes(name));

/**
 * Opens a browser on a page that finds our bundle in `dist`, the peers' packages in `peers` and the models' files in `made`;
 * → its version, `measure(programs, given)` and `close()`.
 */
export async function web({ dist, peers, made, browser: executablePath, gpu }) {
  const puppeteer = await import(pathToFileURL(createRequire(path.join(peers, 'x.js')).resolve('puppeteer-core')));
  const server = await serve({ bench: path.join(HERE, 'page'), dist, peers: path.join(peers, 'node_modules'), models: made });
  const origin = `http://127.0.0.1:${server.address().port}`;
  const flags = ['--no-sandbox', '--disable-background-timer-throttling', '--disable-renderer-backgrounding'];
  const webgpu = ['--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader', '--enable-features=Vulkan'];
  const browser = await puppeteer.launch({
    executablePath, headless: true, args: gpu ? [...flags, ...webgpu] : flags, protocolTimeout: 3_600_000,
  });
  return {
    version: await browser.version(),
    measure: (programs, given) => measure(browser, origin, { programs, ...given }),
    async close() {
      await browser.close();
      server.close();
    },
  };
}

async function measure(browser, origin, request) {
  const page = await browser.newPage();
  page.on('console', (message) => message.type() === 'error' && !/404/.test(message.text()) && console.error(`[page] ${message.text()}`));
  page.on('pageerror', (error) => console.error(`[page] ${error}`));
  await page.exposeFunction('processorMillis', () => processorMillis(browser.process().pid));
  await page.goto(`${origin}/bench/index.html`);
  await page.waitForFunction(() => window.measure);
  const results = await page.evaluate((given) => window.measure(given), request);
  await page.close();
  return results;
}

/** Processor time that the processes under `root` have had, as Linux counts it to the nanosecond; elsewhere null. */
function processorMillis(root) {
  if (!existsSync('/proc/self/schedstat')) return null;
  const read = (file) => {
    try {
      return readFileSync(file, 'latin1');
    } catch {
      return ''; // It ended meanwhile.
    }
  };
  const processes = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  const parents = new Map(processes.map((id) => [id, read(`/proc/${id}/stat`).replace(/.*\) /, '').split(' ')[1]]));
  const isUnder = (id) => id === String(root) || (parents.has(id) && isUnder(parents.get(id)));
  const nanos = (id) => {
    const threads = existsSync(`/proc/${id}/task`) ? readdirSync(`/proc/${id}/task`) : [];
    return threads.reduce((sum, thread) => sum + Number(read(`/proc/${id}/task/${thread}/schedstat`).split(' ')[0]), 0);
  };
  return processes.filter(isUnder).reduce((sum, id) => sum + nanos(id), 0) / 1e6;
}

function serve(roots) {
  const kinds = { '.html': 'text/html', '.js': 'text/javascript', '.mjs': 'text/javascript', '.wasm': 'application/wasm', '.json': 'application/json' };
  const made = createServer((request, response) => {
    const [, root, ...rest] = decodeURIComponent(new URL(request.url, 'http://x').pathname).split('/');
    const file = path.join(roots[root] ?? '/nowhere', ...rest);
    if (!roots[root] || !file.startsWith(roots[root]) || !existsSync(file) || !statSync(file).isFile()) {
      response.writeHead(404).end();
      return;
    }
    response.writeHead(200, { 'content-type': kinds[path.extname(file)] ?? 'application/octet-stream', 'cache-control': 'no-store' });
    response.end(readFileSync(file));
  });
  return new Promise((resolve) => made.listen(0, '127.0.0.1', () => resolve(made)));
}
