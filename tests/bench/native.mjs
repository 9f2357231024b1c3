// attnscope, candle and burn as programs of this machine, one process each and one thread per process; how they are spoken to
// is said in native/src/talk.rs.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { inTurns } from './page/turns.js';

const PROGRAMS = {
  'attnscope native': ['bench-attnscope', 'attnscope-cpu'],
  candle: ['bench-candle'],
  'burn flex': ['bench-attnscope', 'burn-flex'],
  'attnscope native gpu': ['bench-attnscope', 'attnscope-gpu'],
  'attnscope native gpu with maps': ['bench-attnscope', 'attnscope-gpu-maps'],
  'burn wgpu': ['bench-attnscope', 'burn-wgpu'],
};
const CPU = ['attnscope native', 'candle', 'burn flex'];
const GPU = ['attnscope native gpu', 'attnscope native gpu with maps', 'burn wgpu'];

/** Which native programs are meant: those of the list that are native, or the usual ones. */
export const natives = (given, gpu) => (given ?? (gpu ? GPU : CPU)).filter((name) => PROGRAMS[name]);

/** Times the native programs of these names, whose files lie in `folder`, on one model. */
export async function native(folder, names, given) {
  let processor = 0;
  const programs = names.map((name) => {
    const [file, ...more] = PROGRAMS[name];
    return new Native(name, path.join(folder, file), more, (millis) => (processor += millis));
  });
  // The others are compared with the first.
  programs[0].likeliest = async (prompt) => [...(await programs[0].all(prompt)).entries()];
  for (const program of programs.slice(1)) program.logProbabilities = program.all;
  try {
    return await inTurns(programs, given, () => processor);
  } finally {
    for (const { process: running } of programs) running?.kill();
  }
}

class Native {
  constructor(name, file, more, spent) {
    Object.assign(this, { name, file, more, spent });
  }

  async open(model) {
    if (!existsSync(this.file)) throw new Error(`${this.file} is missing; run \`cargo task bench\` without --no-build`);
    // One thread: rayon's pool for candle and burn, and the workers of Mesa's software GPU.
    const env = { ...process.env, RAYON_NUM_THREADS: '1', LP_NUM_THREADS: '1' };
    this.process = spawn(this.file, [...this.more, model.folder], { env, stdio: ['pipe', 'pipe', 'inherit'] });
    this.lines = createInterface({ input: this.process.stdout })[Symbol.asyncIterator]();
    return { about: (await this.next('about')).join(' ') };
  }

  /** The words behind `verb` in the next line. */
  async next(verb) {
    const { value, done } = await this.lines.next();
    if (done) throw new Error(`${this.name} ended; what it printed says why`);
    const [said, ...words] = value.split(' ');
    if (said !== verb) throw new Error(`${this.name}: ${value}`);
    return words;
  }

  async ask(verb, numbers) {
    this.process.stdin.write(`${verb} ${numbers.join(' ')}\n`);
    return (await this.next(verb)).map(Number);
  }

  /** Log-probabilities of all tokens behind the prompt. */
  async all({ ids }) {
    const logits = await this.ask('logits', ids);
    const largest = logits.reduce((a, b) => Math.max(a, b));
    const sum = largest + Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit - largest), 0));
    return logits.map((logit) => logit - sum);
  }

  async prefill({ ids }) {
    const [clock, processor, token] = await this.ask('read', ids);
    this.spent(processor);
    this.first = token;
    return clock;
  }

  async decode(count) {
    const [clock, processor, ...ids] = await this.ask('write', [count]);
    this.spent(processor);
    return { millis: clock, ids, first: this.first };
  }

  async close() {
    this.process.stdin.end();
    if (this.process.exitCode === null) await once(this.process, 'exit');
  }
}
