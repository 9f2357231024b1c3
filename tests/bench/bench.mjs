// attnscope beside its peers, on identical weights, in one run; see README.md.
//
//   node tests/bench/bench.mjs --made FOLDER [--peers FOLDER] [--native FOLDER] [--models stories-3m,gpt2-30m] [--repeats 5]
//     [--tokens 64] [--gpu]
//
// `cargo task bench` calls it with the folders filled in, the peers installed and the native programs built. `--peers` asks
// for what runs in a browser, `--native` for what runs without one.

import { readFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { PROMPTS, prepare } from './models.mjs';
import { native, natives } from './native.mjs';
import { print } from './tables.mjs';
import { web, webs } from './web.mjs';

const HERE = path.dirname(fileURLToPath(import.meta.url));

const { values: options } = parseArgs({
  options: {
    dist: { type: 'string', default: path.join(HERE, '..', '..', 'dist') },
    peers: { type: 'string' },
    native: { type: 'string' },
    made: { type: 'string' },
    models: { type: 'string', default: 'stories-3m,gpt2-30m' },
    programs: { type: 'string' },
    repeats: { type: 'string', default: '5' },
    tokens: { type: 'string', default: '64' },
    browser: { type: 'string', default: process.env.ATTNSCOPE_CHROMIUM ?? '/usr/bin/chromium' },
    gpu: { type: 'boolean', default: false },
  },
});
if (!options.made) throw new Error('--made names the folder of generated models');

const programs = options.programs?.split(',');
const [inPage, without] = [options.peers ? webs(programs, options.gpu) : [], options.native ? natives(programs, options.gpu) : []];
if (!inPage.length && !without.length) throw new Error('no program is left to run; see --peers, --native and --programs');
const prepared = options.models.split(',').map((id) => prepare(id, options.made));
const given = ({ model, prompts }) => ({ model, prompts, tokens: Number(options.tokens), repeats: Number(options.repeats) });
const load = () => `load ${loadavg()[0].toFixed(1)}`;

console.log(`${new Date().toISOString().slice(0, 10)}, ${cpus()[0].model}, ${cpus().length} cores, ${load()}`);
if (inPage.length) {
  const page = await web(options);
  try {
    const { dependencies } = JSON.parse(readFileSync(path.join(HERE, 'package.json')));
    const versions = Object.entries(dependencies).map(([name, version]) => `${name} ${version}`);
    console.log(`\n## In the browser: ${[page.version, ...versions].join(', ')}`);
    for (const asked of prepared) print(asked.model, await page.measure(inPage, given(asked)), PROMPTS);
  } finally {
    await page.close();
  }
}
if (without.length) {
  const lock = readFileSync(path.join(HERE, 'native', 'Cargo.lock'), 'utf8');
  const version = (name) => `${name} ${new RegExp(`name = "${name}"\nversion = "([^"]+)"`).exec(lock)?.[1]}`;
  console.log(`\n## Natively: ${['candle-core', 'burn', 'wgpu'].map(version).join(', ')}`);
  for (const asked of prepared) print(asked.model, await native(options.native, without, given(asked)), PROMPTS);
}
console.log(`\n${load()} at the end`);
