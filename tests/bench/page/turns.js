// Programs that run one model, in turns: in the page by `measure.js`, natively by `native.mjs`. A program has
//
//   open(model), close()
//   likeliest(prompt) or logProbabilities(prompt)   for comparing: [[id, value], …], or the values of all ids
//   prefill(prompt)                                 → milliseconds by the clock
//   decode(count)                                   → { millis, ids, first }, behind what was read last
//   counts()                                        where calls of WebGPU are counted

/** Largest difference of log-probabilities that still counts as the same model. */
const AGREE = 1e-3;

/**
 * Times `programs`, after those that compute other numbers than the first were left out; → a result per program.
 * `processorMillis` tells the processor time of all of them so far, or null.
 */
export async function inTurns(programs, { model, prompts, tokens, repeats }, processorMillis) {
  const opened = [];
  for (const program of programs) {
    program.model = model.id;
    program.count = tokens;
    const facts = await program.open(model);
    opened.push({ program, result: { name: program.name, facts, prefill: {}, decode: {}, ids: [] } });
  }
  await agree(opened, prompts[0]);
  for (let repeat = 0; repeat < repeats; repeat++) {
    for (const { program, result } of opened) {
      if (!result.apart) await turn(program, result, prompts, tokens, processorMillis);
    }
  }
  for (const { program } of opened) await program.close();
  return opened.map(({ result }) => result);
}

/** One turn of one program: reads each prompt, the shortest last, and writes on behind it. */
async function turn(program, result, prompts, tokens, processorMillis) {
  let read;
  for (const prompt of [...prompts].sort((a, b) => b.ids.length - a.ids.length)) {
    read = await timed(async () => ({ millis: await program.prefill(prompt), count: prompt.ids.length }), processorMillis);
    note(result.prefill[prompt.ids.length] ??= {}, read);
  }
  const before = await program.counts?.();
  let written;
  const write = await timed(async () => {
    written = await program.decode(tokens);
    return { millis: written.millis, count: written.ids.length };
  }, processorMillis);
  if (write.count < tokens / 2) throw new Error(`${result.name} wrote only ${write.count} tokens`);
  // llama.cpp reads the prompt again before it writes.
  if (program.readsAgain && write.cpu) write.cpu -= (read.cpu * read.count) / write.count;
  note(result.decode, write);
  result.ids = [written.first ?? -1, ...written.ids];
  if (before) {
    const after = await program.counts();
    result.perToken = Object.fromEntries(Object.entries(after).map(([call, count]) =>
      [call, (count - (before[call] ?? 0)) / write.count]));
  }
}

/** Milliseconds per token by the clock, as the program tells them, and of processor time, where that can be had. */
async function timed(run, processorMillis) {
  const before = await processorMillis();
  const { millis, count } = await run();
  const after = await processorMillis();
  return { wall: millis / count, cpu: before === null ? undefined : (after - before) / count, count };
}

function note(into, { wall, cpu }) {
  (into.wall ??= []).push(wall);
  if (cpu !== undefined) (into.cpu ??= []).push(cpu);
}

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
      if (!(difference < AGREE)) their.result.apart = true;
    }
  }
}
