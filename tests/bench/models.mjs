// The models that are measured, as files each program reads, and what they are asked.

import { existsSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { gguf } from './export/gguf.mjs';
import { randomGpt2, sizes } from './export/model.mjs';
import { onnx } from './export/onnx.mjs';
import { read, write } from './export/safetensors.mjs';

const HERE = path.dirname(fileURLToPath(import.meta.url));
const SHIPPED = path.join(HERE, '..', '..', 'www', 'models');

/** Tokens of the prompts. */
export const PROMPTS = [128, 448];

/** Makes the files of a model where they are missing; → what the page must know of it. */
export function prepare(id, made) {
  const folder = path.join(made, id);
  const shipped = path.join(SHIPPED, id);
  const tokenizer = JSON.parse(readFileSync(path.join(SHIPPED, 'stories-3m', 'tokenizer.json')));
  mkdirSync(folder, { recursive: true });
  let found;
  const source = () => (found ??= id === 'gpt2-30m' && !existsSync(shipped)
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
  return { model: { id, folder, caches: [...Array(layers).keys()], kvHeads, headWidth, positions: gpt2 }, prompts: PROMPTS.map((n) => prompt(tokenizer, n)) };
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
