// onnxruntime-web on the model's ONNX file, with its caches handed from step to step.

import { counts } from './count.js';

export class OnnxRuntime {
  constructor(provider) {
    this.provider = provider;
    this.name = `onnxruntime-web ${provider}`;
  }

  async open(model) {
    if (this.provider === 'webgpu') withoutSubgroups();
    const bundle = this.provider === 'wasm' ? 'ort.wasm.bundle.min.mjs' : 'ort.webgpu.bundle.min.mjs';
    this.ort = await import(`/peers/onnxruntime-web/dist/${bundle}`);
    this.ort.env.wasm.numThreads = 1;
    this.ort.env.wasm.wasmPaths = `${location.origin}/peers/onnxruntime-web/dist/`;
    this.ort.env.logLevel = 'error';
    const options = { executionProviders: [this.provider], graphOptimizationLevel: 'all' };
    if (this.provider === 'webgpu') {
      options.preferredOutputLocation = Object.fromEntries(model.caches.map((i) =>
        ['key', 'value'].map((kind) => [`present_${kind}_${i}`, 'gpu-buffer'])).flat());
    }
    const file = await (await fetch(`/models/${model.id}/model.onnx`)).arrayBuffer();
    this.session = await this.ort.InferenceSession.create(new Uint8Array(file), options);
    this.model = model;
    return { name: this.name };
  }

  async step(ids) {
    const { Tensor } = this.ort;
    const { model, past } = this;
    const before = past?.tokens ?? 0;
    const feeds = {
      input_ids: new Tensor('int64', BigInt64Array.from(ids, BigInt), [1, ids.length]),
      seqlens_k: new Tensor('int32', Int32Array.of(before + ids.length - 1), [1]),
      total: new Tensor('int32', Int32Array.of(before + ids.length), []),
    };
    if (model.positions) {
      feeds.positions = new Tensor('int64', BigInt64Array.from(ids, (_, i) => BigInt(before + i)), [1, ids.length]);
    }
    for (const i of model.caches) {
      for (const kind of ['key', 'value']) {
        feeds[`past_${kind}_${i}`] = past?.tensors[`present_${kind}_${i}`]
          ?? new Tensor('float32', new Float32Array(0), [1, model.kvHeads, 0, model.headWidth]);
      }
    }
    const { logits, ...tensors } = await this.session.run(feeds);
    if (past) Object.values(past.tensors).forEach((tensor) => tensor.dispose());
    this.past = { tensors, tokens: before + ids.length };
    this.logits = logits.data;
  }

  forget() {
    Object.values(this.past?.tensors ?? {}).forEach((tensor) => tensor.dispose());
    this.past = undefined;
  }

  /** Log-probabilities of all tokens behind the prompt. */
  async logProbabilities(prompt) {
    this.forget();
    await this.step(prompt.ids);
    const top = this.logits.reduce((a, b) => Math.max(a, b));
    const norm = top + Math.log(this.logits.reduce((sum, logit) => sum + Math.exp(logit - top), 0));
    return Float64Array.from(this.logits, (logit) => logit - norm);
  }

  async prefill(prompt) {
    this.forget();
    const start = performance.now();
    await this.step(prompt.ids);
    this.next = likeliest(this.logits);
    return performance.now() - start;
  }

  async decode(count) {
    const [ids, first] = [[], this.next];
    const start = performance.now();
    while (ids.length < count) {
      await this.step([this.next]);
      this.next = likeliest(this.logits);
      ids.push(this.next);
    }
    return { millis: performance.now() - start, ids, first };
  }

  async counts() {
    return { ...counts };
  }

  close() {
    this.forget();
    return this.session.release();
  }
}

/**
 * Its fused attention gives wrong numbers where subgroups are four wide, as SwiftShader's are (log-probabilities off by
 * 0.2; compare microsoft/onnxruntime issue 26064), and right ones where the adapter says it has none.
 */
function withoutSubgroups() {
  const { get } = Object.getOwnPropertyDescriptor(GPUAdapter.prototype, 'features');
  Object.defineProperty(GPUAdapter.prototype, 'features', {
    get() {
      return new Set([...get.call(this)].filter((feature) => !feature.startsWith('subgroup')));
    },
  });
}

function likeliest(logits) {
  let best = 0;
  for (let id = 1; id < logits.length; id++) if (logits[id] > logits[best]) best = id;
  return best;
}
