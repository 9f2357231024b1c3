// The model as an ONNX graph with a key–value cache: one graph for prefill and decode, written with the fused operators
// that onnxruntime's own exporter for language models uses (GroupQueryAttention, SimplifiedLayerNormalization), so that
// the peer runs as fast as it can.
//
// Inputs    input_ids [1,T], positions [1,T], seqlens_k [1] = K - 1, total [] = K, past_key_i and past_value_i [1,G,P,D]
// Outputs   logits [1,1,V] behind the last token, present_key_i and present_value_i [1,G,K,D]

import { message } from './protobuf.mjs';
import { named, sizes } from './model.mjs';
import { transpose } from './safetensors.mjs';

const FLOAT = 1;
const INT32 = 6;
const INT64 = 7;
const CONTRIB = 'com.microsoft';

export function onnx(config, weights) {
  const s = sizes(config);
  const model = named(config, weights);
  const [nodes, initializers] = [[], []];
  let count = 0;

  const tensor = (name, shape, type, bytes) => {
    initializers.push([5, [...shape.map((size) => [1, size]), [2, type], [8, name], [9, bytes]]]);
    return name;
  };
  const floats = (name, { shape, data }) => tensor(name, shape, FLOAT, Buffer.from(data.buffer, data.byteOffset, data.byteLength));
  const int64 = (name, values) => tensor(name, [values.length], INT64, Buffer.from(BigInt64Array.from(values, BigInt).buffer));
  const node = (type, inputs, { outputs, domain = '', ...attributes } = {}) => {
    outputs ??= [`${type.toLowerCase()}_${count++}`];
    const attribute = ([name, value]) => [5, [[1, name], ...(Number.isInteger(value) && !FLOATS.has(name)
      ? [[3, value], [20, 2]]
      : [[2, { float: value }], [20, 1]])]];
    nodes.push([1, [
      ...inputs.map((input) => [1, input]), ...outputs.map((output) => [2, output]), [3, `${type}_${nodes.length}`], [4, type],
      ...Object.entries(attributes).map(attribute), [7, domain],
    ]]);
    return outputs[0];
  };
  const linear = (name, x, { w, b }) => {
    const product = node('MatMul', [x, floats(`${name}.w`, w)]);
    return b ? node('Add', [product, floats(`${name}.b`, b)]) : product;
  };
  const norm = (name, x, { w, b }) => b
    ? node('LayerNormalization', [x, floats(`${name}.w`, w), floats(`${name}.b`, b)], { axis: -1, epsilon: s.epsilon })
    : node('SimplifiedLayerNormalization', [x, floats(`${name}.w`, w)], { axis: -1, epsilon: s.epsilon, stash_type: 1 });

  let rotation = ['', ''];
  if (!s.gpt2) {
    const half = s.headWidth / 2;
    const table = (of) => Float32Array.from({ length: s.context * half }, (_, i) =>
      of(Math.floor(i / half) * s.theta ** (-(i % half) / half)));
    rotation = [floats('cos', { shape: [s.context, half], data: table(Math.cos) }),
      floats('sin', { shape: [s.context, half], data: table(Math.sin) })];
  }
  let x = node('Gather', [floats('embed', model.embed), 'input_ids']);
  if (model.positions) x = node('Add', [x, node('Gather', [floats('positions_table', model.positions), 'positions'])]);
  model.blocks.forEach((block, i) => {
    const normal = norm(`ln1_${i}`, x, block.ln1);
    let qkv;
    if (block.qkv) {
      const all = linear(`qkv_${i}`, normal, block.qkv);
      qkv = [`q_${i}`, `k_${i}`, `v_${i}`];
      node('Split', [all], { outputs: qkv, axis: -1, num_outputs: 3 });
    } else {
      qkv = ['q', 'k', 'v'].map((part) => linear(`${part}_${i}`, normal, block[part]));
    }
    const z = node('GroupQueryAttention',
      [...qkv, `past_key_${i}`, `past_value_${i}`, 'seqlens_k', 'total', ...rotation], {
        domain: CONTRIB, outputs: [`z_${i}`, `present_key_${i}`, `present_value_${i}`],
        num_heads: s.heads, kv_num_heads: s.kvHeads, scale: 1 / Math.sqrt(s.headWidth), do_rotary: s.gpt2 ? 0 : 1,
      });
    x = node('Add', [x, linear(`o_${i}`, z, block.o)]);
    const between = norm(`ln2_${i}`, x, block.ln2);
    const inner = linear(`inner_${i}`, between, block.inner);
    const post = block.gate
      ? node('Mul', [node('QuickGelu', [linear(`gate_${i}`, between, block.gate)], { domain: CONTRIB, alpha: 1 }), inner])
      : node('FastGelu', [inner], { domain: CONTRIB });
    x = node('Add', [x, linear(`outer_${i}`, post, block.outer)]);
  });
  // Only the last token's logits, as every runtime for language models computes them.
  const last = node('Slice', [x, int64('from', [-1]), int64('to', [2 ** 31]), int64('axis', [1])]);
  node('MatMul', [norm('final', last, model.final), floats('unembed', transpose(model.embed))], { outputs: ['logits'] });

  const value = (field, name, type, shape) => [field, [[1, name], [2, [[1, [[1, type],
    [2, shape.map((size) => [1, [typeof size === 'number' ? [1, size] : [2, size]]])]]]]]]];
  const cache = (i, of, length) => ['key', 'value'].map((kind) =>
    value(of === 'past' ? 11 : 12, `${of}_${kind}_${i}`, FLOAT, [1, s.kvHeads, length, s.headWidth]));
  const layers = [...Array(s.layers).keys()];
  const ids = [value(11, 'input_ids', INT64, [1, 'T'])];
  if (model.positions) ids.push(value(11, 'positions', INT64, [1, 'T']));
  return message([
    [1, 9], [2, 'attnscope'], [8, [[1, ''], [2, 18]]], [8, [[1, CONTRIB], [2, 1]]],
    [7, [
      ...nodes, [2, 'decoder'], ...initializers, ...ids,
      value(11, 'seqlens_k', INT32, [1]), value(11, 'total', INT32, []),
      ...layers.flatMap((i) => cache(i, 'past', 'P')),
      value(12, 'logits', FLOAT, [1, 1, s.vocabulary]), ...layers.flatMap((i) => cache(i, 'present', 'K')),
    ]],
  ]);
}

/** Attributes that are floats even when their value is whole. */
const FLOATS = new Set(['alpha', 'scale', 'epsilon']);
