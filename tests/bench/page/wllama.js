// llama.cpp in the browser on the model's GGUF file, on the processor with one thread; times are those it reports itself,
// without the way to its worker and back.

export class LlamaCpp {
  name = 'wllama cpu';
  readsAgain = true;

  async open(model) {
    const { Wllama } = await import('/peers/@wllama/wllama/esm/index.js');
    this.wllama = new Wllama({ default: '/peers/@wllama/wllama/esm/wasm/wllama.wasm' }, { suppressNativeLog: true });
    const file = await (await fetch(`/models/${model.id}/model.gguf`)).blob();
    await this.wllama.loadModel([file], {
      n_ctx: 512, n_batch: 512, n_ubatch: 512, n_threads: 1, n_gpu_layers: 0, cache_type_k: 'f32', cache_type_v: 'f32', n_parallel: 1,
      warmup: false,
    });
    return { name: this.name };
  }

  async complete(prompt, count) {
    return this.wllama.createCompletion({
      prompt: prompt.text, max_tokens: count, temperature: 0, top_k: 1, ignore_eos: true, cache_prompt: false, logprobs: 10,
      timings_per_token: true, return_tokens: true,
    });
  }

  async prefill(prompt) {
    this.prompt = prompt;
    const { timings } = await this.complete(prompt, 1);
    if (timings.prompt_n !== prompt.ids.length) throw new Error(`wllama read ${timings.prompt_n} tokens of ${prompt.ids.length}`);
    return timings.prompt_ms;
  }

  async decode(count) {
    const { timings } = await this.complete(this.prompt, count);
    return { millis: timings.predicted_ms, ids: Array(timings.predicted_n).fill(-1) };
  }

  close() {
    return this.wllama.exit();
  }
}
