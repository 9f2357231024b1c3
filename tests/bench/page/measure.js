// Runs attnscope and its peers on one model in turns; `bench.mjs` calls `measure` and prints what comes back.

import './count.js';
import { Attnscope } from './attnscope.js';
import { OnnxRuntime } from './onnxruntime.js';
import { LlamaCpp } from './wllama.js';

const PROGRAMS = {
  'attnscope cpu': () => new Attnscope('cpu'),
  'onnxruntime-web wasm': () => new OnnxRuntime('wasm'),
  'wllama cpu': () => new LlamaCpp(),
  'attnscope gpu': () => new Attnscope('gpu'),
  'onnxruntime-web webgpu': () => new OnnxRuntime('webgpu'),
};

/** Largest difference of log-probabilities that still counts as the same model. */
const AGREE = 1e-3;

window.measure = async ({ model, programs, prompts, tokens, repeats }) => {
  const opened = [];
  for (const name of programs) {
    const program = PROGRAMS[name]();
    program.model = model.id;
    program.count = tokens;
    const facts = await program.open(model);
    opened.push({ program, result: { name, facts, prefill: {}, decode: [], ids: [] } });
  }
  await agree(opened, prompts[0]);
  for (let repeat = 0; repeat < repeats; repeat++) {
    for (const { program, result } of opened) {
      // The shortest prompt last, so that decoding follows it.
      for (const prompt of [...prompts].sort((a, b) => b.ids.length - a.ids.length)) {
        (result.prefill[prompt.ids.length] ??= []).push(await program.prefill(prompt));
      }
      const before = await program.counts?.();
      const { millis, ids } = await program.decode(tokens);
      if (ids.length < tokens / 2) throw new Error(`${result.name} wrote only ${ids.length} tokens`);
      result.decode.push(millis / ids.length);
      result.ids = ids;
      if (before) {
        const after = await program.counts();
        result.perToken = Object.fromEntries(Object.entries(after).map(([call, count]) =>
          [call, (count - (before[call] ?? 0)) / ids.length]));
      }
    }
  }
  for (const { program } of opened) await program.close();
  return opened.map(({ result }) => result);
};

/** Refuses to time programs that do not compute the same numbers. */
async function agree(opened, prompt) {
  const ours = opened.filter(({ program }) => program.likeliest);
  const theirs = opened.filter(({ program }) => program.logProbabilities);
  for (const their of theirs) {
    const all = await their.program.logProbabilities(prompt);
    for (const our of ours) {
      const likeliest = await our.program.likeliest(prompt);
      const difference = Math.max(...likeliest.map(([id, value]) => Math.abs(value - all[id])));
      (their.result.differences ??= {})[our.result.name] = difference;
      if (!(difference < AGREE)) {
        throw new Error(`${their.result.name} and ${our.result.name} differ by ${difference} in log-probability`);
      }
    }
  }
}
