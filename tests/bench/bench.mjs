// attnscope beside its peers, on identical weights, in one page and one run; see README.md.
//
//   node tests/bench/bench.mjs --peers FOLDER --made FOLDER [--models stories-3m,gpt2-30m] [--repeats 5] [--tokens 64] [--gpu]
//
// `cargo task bench` calls it with the folders filled in and the peers installed.

import { createServer } from 'node:http';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync, renameSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { cpus } from 'node:os';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { gguf } from './export/gguf.mjs';
import { randomGpt2, sizes } from './export/model.mjs';
import { onnx } from './export/onnx.mjs';
import { read, write } from './export/safetensors.mjs';

const HERE = path.dirname(fileURLToPath(import.meta.url));
const SHIPPED = path.join(HERE, '..', '..', 'www', 'models');
const PROMPTS = [128, 448];
const CPU = ['attnscope cpu', 'onnxruntime-web wasm', 'wllama cpu'];
const GPU = ['attnscope gpu', 'onnxruntime-web webgpu'];

const { values: options } = parseArgs({
  options: {
    dist: { type: 'string', default: path.join(HERE, '..', '..', 'dist') },
    peers: { type: 'string' },
    made: { type: 'string' },
    models: { type: 'string', default: 'stories-3m,gpt2-30m' },
    programs: { type: 'string' },
    repeats: { type: 'string', default: '5' },
    tokens: { type: 'string', default: '64' },
    browser: { type: 'string', default: process.env.ATTNSCOPE_CHROMIUM ?? '/usr/bin/chromium' },
    gpu: { type: 'boolean', default: false },
  },
});
if (!options.peers || !options.made) throw new Error('--peers names the folder of node_modules, --made that of generated models');

const models = options.made;
const peers = path.join(options.peers, 'node_modules');
const puppeteer = await import(pathToFileURL(createRequire(path.join(options.peers, 'x.js')).resolve('puppeteer-core')));

const prepared = options.models.split(',').map(prepare);
const server = await serve();
const origin = `http://127.0.0.1:${server.address().port}`;
const flags = ['--no-sandbox', '--disable-background-timer-throttling', '--disable-renderer-backgrounding'];
const webgpu = ['--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader', '--enable-features=Vulkan'];
const browser = await puppeteer.launch({
  executablePath: options.browser, headless: true, args: options.gpu ? [...flags, ...webgpu] : flags, protocolTimeout: 3_600_000,
});
try {
  console.log(`${new Date().toISOString().slice(0, 10)}, ${cpus()[0].model}, ${cpus().length} cores, ${await browser.version()}`);
  for (const [name, version] of Object.entries(JSON.parse(readFileSync(path.join(HERE, 'package.json'))).dependencies)) {
    console.log(`${name} ${version}`);
  }
  for (const model of prepared) await bench(model);
} finally {
  await browser.close();
  server.close();
}

async function bench({ model, prompts }) {
  const page = await browser.newPage();
  page.on('console', (message) => message.type() === 'error' && !/404/.test(message.text()) && console.error(`[page] ${message.text()}`));
  page.on('pageerror', (error) => console.error(`[page] ${error}`));
  await page.exposeFunction('processorMillis', () => processorMillis(browser.process().pid));
  await page.goto(`${origin}/bench/index.html`);
  await page.waitForFunction(() => window.measure);
  const programs = options.programs?.split(',') ?? (options.gpu ? GPU : CPU);
  const request = { model, programs, prompts, tokens: Number(options.tokens), repeats: Number(options.repeats) };
  const results = await page.evaluate((given) => window.measure(given), request);
  await page.close();
  print(model, results);
}

/** Medians, and each peer's time per token as a multiple of the first program's. */
function print(model, results) {
  const [first] = results;
  console.log(`\n### ${model.id}`);
  const columns = [['decode', (r) => r.decode], ...PROMPTS.map((n) => [`prefill ${n}`, (r) => r.prefill[n]])];
  for (const [kind, title] of [['cpu', 'Processor time'], ['wall', 'Time by the clock']]) {
    if (!first.decode[kind]) continue;
    console.log(`\n${title}:\n`);
    console.log(`| program | ${columns.map(([name]) => `${name}, tokens/s | ${first.name} is`).join(' | ')} |`);
    console.log(`|---|${columns.map(() => '--:|--:|').join('')}`);
    for (const result of results) {
      const cells = columns.map(([, of]) => {
        const [mine, time] = [median(of(first)[kind]), median(of(result)[kind])];
        return `${(1e3 / time).toFixed(0)} | ${result === first ? '' : `${(time / mine).toFixed(2)}×`}`;
      });
      console.log(`| ${result.name} | ${cells.join(' | ')} |`);
    }
  }
  for (const { name, differences, perToken, facts } of results) {
    if (differences) console.log(`\n${name}: log-probabilities differ by ${JSON.stringify(differences)}`);
    if (perToken && Object.keys(perToken).length) console.log(`\n${name}, calls of WebGPU per token: ${JSON.stringify(perToken)}`);
    if (facts?.adapter) console.log(`${name}: ${JSON.stringify(facts)}`);
  }
  const written = new Set(results.filter(({ ids }) => ids[0] >= 0).map(({ ids }) => ids.join()));
  console.log(`\nThe programs that tell their tokens wrote ${written.size === 1 ? 'the same ones' : `${written.size} different continuations`}.`);
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
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

/** Makes the files of a model where they are missing; → what the page must know of it. */
function prepare(id) {
  const folder = path.join(models, id);
  const shipped = path.join(SHIPPED, id);
  const tokenizer = JSON.parse(readFileSync(path.join(SHIPPED, 'stories-3m', 'tokenizer.json')));
  mkdirSync(folder, { recursive: true });
  let made;
  const source = () => (made ??= id === 'gpt2-30m' && !existsSync(shipped)
    ? randomGpt2(1)
    : { config: JSON.parse(readFileSync(path.join(shipped, 'config.json'))), weights: read(readFileSync(path.join(shipped, 'model.safetensors'))) });
  const make = (name, bytes) => {
    const file = path.join(folder, name);
    const isNewer = existsSync(file) && statSync(file).mtimeMs > exporterAge();
    if (isNewer) return;
    writeFileSync(`${file}.partial`, bytes());
    renameSync(`${file}.partial`, file);
  };
  make('config.json', () => JSON.stringify(source().config));
  make('tokenizer.json', () => JSON.stringify(tokenizer));
  make('model.safetensors', () => (existsSync(shipped) ? readFileSync(path.join(shipped, 'model.safetensors')) : write(source().weights)));
  make('model.onnx', () => onnx(source().config, source().weights));
  make('model.gguf', () => gguf(source().config, source().weights, tokenizer));
  const { layers, kvHeads, headWidth, gpt2 } = sizes(JSON.parse(readFileSync(path.join(folder, 'config.json'))));
  return { model: { id, caches: [...Array(layers).keys()], kvHeads, headWidth, positions: gpt2 }, prompts: PROMPTS.map((n) => prompt(tokenizer, n)) };
}

/** When what makes the files was last changed. */
function exporterAge() {
  return Math.max(...['gguf', 'model', 'onnx', 'protobuf', 'safetensors'].map((name) =>
    statSync(path.join(HERE, 'export', `${name}.mjs`)).mtimeMs));
}

/** Words that are one token each, so that every tokenizer reads the same ids. */
function prompt(tokenizer, count) {
  const words = Object.entries(tokenizer.model.vocab).filter(([word]) => /^Ġ[a-z]{3,}$/.test(word)).sort((a, b) => a[1] - b[1]);
  const chosen = Array.from({ length: count }, (_, i) => words[(i * 97 + 13) % words.length]);
  return { text: chosen.map(([word]) => ` ${word.slice(1)}`).join(''), ids: chosen.map(([, id]) => id) };
}

function serve() {
  const roots = { bench: path.join(HERE, 'page'), dist: options.dist, peers, models };
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
