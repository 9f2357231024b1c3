// What was measured, as tables.

/** Whether programs agree; then medians, and each peer's time per token as a multiple of the first program's. */
export function print(model, results, prompts) {
  console.log(`\n### ${model.id}\n`);
  for (const { name, facts, differences, apart } of results) {
    const about = facts?.about ? ` (${facts.about})` : '';
    const differ = differences ? `: log-probabilities differ by ${JSON.stringify(differences)}` : '';
    console.log(`- ${name}${about}${differ}${apart ? '; that is another model, so it is NOT TIMED' : ''}`);
    if (facts?.adapter) console.log(`  ${JSON.stringify(facts)}`);
  }
  const timed = results.filter(({ apart }) => !apart);
  const told = timed.filter(({ ids }) => ids[0] >= 0);
  const others = told.flatMap(({ name, ids }) => {
    const at = told[0].ids.findIndex((id, i) => id !== ids[i]);
    return at < 0 ? [] : [`${name} writes OTHER tokens than ${told[0].name} from the ${at + 1}th on`];
  });
  const same = `the ${told.length} programs that tell their tokens wrote the same ${told[0]?.ids.length}`;
  console.log(`- ${others.length ? others.join('; ') : same}`);

  const [first] = timed;
  const columns = [['decode', (r) => r.decode], ...prompts.map((n) => [`prefill ${n}`, (r) => r.prefill[n]])];
  for (const [kind, title] of [['cpu', 'Processor time'], ['wall', 'Time by the clock']]) {
    if (!first?.decode[kind]) continue;
    console.log(`\n${title}:\n`);
    console.log(`| program | ${columns.map(([name]) => `${name}, tokens/s | ${first.name} is`).join(' | ')} |`);
    console.log(`|---|${columns.map(() => '--:|--:|').join('')}`);
    for (const result of timed) {
      const cells = columns.map(([, of]) => {
        const [mine, time] = [median(of(first)[kind]), median(of(result)[kind])];
        return `${(1e3 / time).toFixed(0)} | ${result === first ? '' : `${(time / mine).toFixed(2)}×`}`;
      });
      console.log(`| ${result.name} | ${cells.join(' | ')} |`);
    }
  }
  for (const { name, perToken } of timed) {
    if (perToken && Object.keys(perToken).length) console.log(`\n${name}, calls of WebGPU per token: ${JSON.stringify(perToken)}`);
  }
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
