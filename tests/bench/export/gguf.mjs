// The model as a GGUF file, version 3, all f32, for llama.cpp.

import { named, sizes } from './model.mjs';
import { transpose } from './safetensors.mjs';

const U32 = 4;
const F32 = 6;
const BOOL = 7;
const STRING = 8;
const LIST = 9;
const I32 = 5;
const ALIGN = 32;

export function gguf(config, weights, tokenizer) {
  const s = sizes(config);
  const model = named(config, weights);
  const arch = s.gpt2 ? 'gpt2' : 'llama';
  const tensors = [];
  // Their matrices are [out, in].
  const put = (name, map) => {
    tensors.push([`${name}.weight`, map.w.shape.length === 2 ? transpose(map.w) : map.w]);
    if (map.b) tensors.push([`${name}.bias`, map.b]);
  };
  tensors.push(['token_embd.weight', model.embed]);
  if (model.positions) tensors.push(['position_embd.weight', model.positions]);
  model.blocks.forEach((block, i) => {
    const at = (name) => `blk.${i}.${name}`;
    put(at('attn_norm'), block.ln1);
    if (block.qkv) put(at('attn_qkv'), block.qkv);
    else {
      tensors.push([`${at('attn_q')}.weight`, adjacent(transpose(block.q.w), s.heads)]);
      tensors.push([`${at('attn_k')}.weight`, adjacent(transpose(block.k.w), s.kvHeads)]);
      put(at('attn_v'), block.v);
    }
    put(at('attn_output'), block.o);
    put(at('ffn_norm'), block.ln2);
    if (block.gate) put(at('ffn_gate'), block.gate);
    put(at('ffn_up'), block.inner);
    put(at('ffn_down'), block.outer);
  });
  put('output_norm', model.final);

  const vocabulary = Array.from({ length: s.vocabulary }, (_, id) => `<unused-${id}>`);
  const kinds = Array(s.vocabulary).fill(5);
  for (const [word, id] of Object.entries(tokenizer.model.vocab)) [vocabulary[id], kinds[id]] = [word, 1];
  for (const { id, content } of tokenizer.added_tokens) [vocabulary[id], kinds[id]] = [content, 3];
  const merges = tokenizer.model.merges.map((pair) => (Array.isArray(pair) ? pair.join(' ') : pair));
  const facts = [
    ['general.architecture', STRING, arch],
    ['general.alignment', U32, ALIGN],
    [`${arch}.context_length`, U32, s.context],
    [`${arch}.embedding_length`, U32, s.width],
    [`${arch}.feed_forward_length`, U32, s.ffn],
    [`${arch}.block_count`, U32, s.layers],
    [`${arch}.attention.head_count`, U32, s.heads],
    [`${arch}.attention.head_count_kv`, U32, s.kvHeads],
    s.gpt2 ? [`${arch}.attention.layer_norm_epsilon`, F32, s.epsilon] : [`${arch}.attention.layer_norm_rms_epsilon`, F32, s.epsilon],
    ...(s.gpt2 ? [] : [[`${arch}.rope.dimension_count`, U32, s.headWidth], [`${arch}.rope.freq_base`, F32, s.theta]]),
    ['tokenizer.ggml.model', STRING, 'gpt2'],
    ['tokenizer.ggml.pre', STRING, 'gpt-2'],
    ['tokenizer.ggml.tokens', LIST, [STRING, vocabulary]],
    ['tokenizer.ggml.token_type', LIST, [I32, kinds]],
    ['tokenizer.ggml.merges', LIST, [STRING, merges]],
    ['tokenizer.ggml.bos_token_id', U32, 0],
    ['tokenizer.ggml.eos_token_id', U32, 0],
    ['tokenizer.ggml.add_bos_token', BOOL, 0],
  ];

  const parts = [Buffer.from('GGUF'), word(3), long(tensors.length), long(facts.length)];
  for (const [key, kind, fact] of facts) parts.push(text(key), word(kind), value(kind, fact));
  let offset = 0;
  for (const [name, { shape, data }] of tensors) {
    parts.push(text(name), word(shape.length), ...[...shape].reverse().map(long), word(0), long(offset));
    offset += padded(data.byteLength);
  }
  const head = Buffer.concat(parts);
  const body = [head, Buffer.alloc(padded(head.length) - head.length)];
  for (const [, { data }] of tensors) {
    body.push(Buffer.from(data.buffer, data.byteOffset, data.byteLength), Buffer.alloc(padded(data.byteLength) - data.byteLength));
  }
  return Buffer.concat(body);
}

/** Rows of queries or keys in the order in which llama.cpp turns neighbours, [H·D, M]. */
function adjacent({ shape: [rows, columns], data }, heads) {
  const width = rows / heads;
  const turned = new Float32Array(data.length);
  for (let row = 0; row < rows; row++) {
    const [head, entry] = [Math.floor(row / width), row % width];
    const from = head * width + (entry % 2) * (width / 2) + Math.floor(entry / 2);
    turned.set(data.subarray(from * columns, (from + 1) * columns), row * columns);
  }
  return { shape: [rows, columns], data: turned };
}

const padded = (length) => Math.ceil(length / ALIGN) * ALIGN;

function value(kind, fact) {
  switch (kind) {
    case STRING: return text(fact);
    case BOOL: return Buffer.from([fact]);
    case LIST: return Buffer.concat([word(fact[0]), long(fact[1].length), ...fact[1].map((item) => value(fact[0], item))]);
    case F32: {
      const four = Buffer.alloc(4);
      four.writeFloatLE(fact);
      return four;
    }
    default: return word(fact);
  }
}

function text(words) {
  const bytes = Buffer.from(words);
  return Buffer.concat([long(bytes.length), bytes]);
}

function word(number) {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(number);
  return bytes;
}

function long(number) {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(number));
  return bytes;
}
