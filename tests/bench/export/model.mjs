// One view of both families' files, from which the peers' files are written, and the random GPT-2.

import { transpose } from './safetensors.mjs';

/** Sizes by the names of the design: L, H, G, D, M, F, V, context. */
export function sizes(config) {
  const gpt2 = config.model_type === 'gpt2';
  const [layers, heads, width] = gpt2
    ? [config.n_layer, config.n_head, config.n_embd]
    : [config.num_hidden_layers, config.num_attention_heads, config.hidden_size];
  return {
    gpt2, layers, heads, width,
    kvHeads: gpt2 ? heads : config.num_key_value_heads,
    headWidth: gpt2 ? width / heads : config.head_dim,
    ffn: gpt2 ? config.n_inner : config.intermediate_size,
    vocabulary: config.vocab_size,
    context: gpt2 ? config.n_positions : config.max_position_embeddings,
    epsilon: gpt2 ? config.layer_norm_epsilon : config.rms_norm_eps,
    theta: config.rope_theta,
  };
}

/** The weights of a file under short names; every matrix is [in, out]. */
export function named(config, weights) {
  const { gpt2, layers } = sizes(config);
  const at = (name) => {
    const found = weights.get(name) ?? weights.get(`${gpt2 ? 'transformer' : 'model'}.${name}`);
    if (!found) throw new Error(`the file has no ${name}`);
    return found;
  };
  const out = { embed: at(gpt2 ? 'wte.weight' : 'embed_tokens.weight'), blocks: [] };
  for (let layer = 0; layer < layers; layer++) {
    const h = (name) => at(`${gpt2 ? 'h' : 'layers'}.${layer}.${name}`);
    const linear = (name) => ({ w: transpose(h(`${name}.weight`)) });
    const convolution = (name) => ({ w: h(`${name}.weight`), b: h(`${name}.bias`) });
    const norm = (name) => ({ w: h(`${name}.weight`), b: gpt2 ? h(`${name}.bias`) : undefined });
    out.blocks.push(gpt2
      ? {
          ln1: norm('ln_1'), qkv: convolution('attn.c_attn'), o: convolution('attn.c_proj'),
          ln2: norm('ln_2'), inner: convolution('mlp.c_fc'), outer: convolution('mlp.c_proj'),
        }
      : {
          ln1: norm('input_layernorm'), q: linear('self_attn.q_proj'), k: linear('self_attn.k_proj'),
          v: linear('self_attn.v_proj'), o: linear('self_attn.o_proj'), ln2: norm('post_attention_layernorm'),
          gate: linear('mlp.gate_proj'), inner: linear('mlp.up_proj'), outer: linear('mlp.down_proj'),
        });
  }
  const last = gpt2 ? 'ln_f' : 'norm';
  out.final = { w: at(`${last}.weight`), b: gpt2 ? at(`${last}.bias`) : undefined };
  if (gpt2) out.positions = at('wpe.weight');
  return out;
}

/** A GPT-2 of 29.6 million weights drawn from a seeded generator: a shape to measure, with nothing to say. */
export function randomGpt2(seed) {
  const config = {
    model_type: 'gpt2', architectures: ['GPT2LMHeadModel'], vocab_size: 8192, n_positions: 512, n_embd: 512, n_layer: 8,
    n_head: 8, n_inner: 2048, activation_function: 'gelu_new', layer_norm_epsilon: 1e-5, tie_word_embeddings: true,
    bos_token_id: 0, eos_token_id: null,
  };
  const normal = generator(seed);
  const weights = new Map();
  const put = (name, shape, fill) => {
    const data = new Float32Array(shape.reduce((a, b) => a * b, 1));
    weights.set(name, { shape, data: data.map(fill) });
  };
  const noise = (deviation) => () => deviation * normal();
  const norm = (name) => {
    put(`${name}.weight`, [512], () => 1 + 0.1 * normal());
    put(`${name}.bias`, [512], noise(0.02));
  };
  const map = (name, inner, outer, deviation) => {
    put(`${name}.weight`, [inner, outer], noise(deviation));
    put(`${name}.bias`, [outer], noise(0.02));
  };
  put('wte.weight', [8192, 512], noise(0.05));
  put('wpe.weight', [512, 512], noise(0.02));
  for (let layer = 0; layer < 8; layer++) {
    norm(`h.${layer}.ln_1`);
    map(`h.${layer}.attn.c_attn`, 512, 1536, 0.05);
    map(`h.${layer}.attn.c_proj`, 512, 512, 0.02);
    norm(`h.${layer}.ln_2`);
    map(`h.${layer}.mlp.c_fc`, 512, 2048, 0.05);
    map(`h.${layer}.mlp.c_proj`, 2048, 512, 0.02);
  }
  norm('ln_f');
  return { config, weights };
}

/** Standard normal numbers: Box–Muller on the generator mulberry32. */
function generator(seed) {
  let state = seed >>> 0;
  const uniform = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (((t ^ (t >>> 14)) >>> 0) + 0.5) / 4294967296;
  };
  return () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
}
