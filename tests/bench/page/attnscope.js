// attnscope's engine worker, asked as its page asks it.

export class Attnscope {
  constructor(engine) {
    this.engine = engine;
    this.name = `attnscope ${engine}`;
    this.waiting = new Map();
    this.last = 0;
    this.channel = new BroadcastChannel('counts');
  }

  async open(model) {
    // The loader under an address of its own, so that each engine has its worker.
    this.worker = new Worker('./loader.js', { type: 'module' });
    const ready = new Promise((resolve, reject) => {
      this.worker.onerror = (event) => reject(new Error(`${this.name}: ${event.message}`));
      this.worker.onmessage = ({ data: { id, json } }) => {
        const reply = JSON.parse(json);
        if (id === 0) return reply.reply === 'ready' ? resolve() : reject(new Error(json));
        if (reply.reply === 'progress') return;
        const { resolve: answer, reject: refuse } = this.waiting.get(id);
        this.waiting.delete(id);
        reply.reply === 'failed' ? refuse(new Error(`${this.name}: ${reply.message}`)) : answer(reply);
      };
    });
    await ready;
    const opened = await this.call({ command: 'open', model: model.id, base: location.origin, engine: this.engine });
    return opened.engine;
  }

  call(command) {
    const id = ++this.last;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      this.worker.postMessage({ id, json: JSON.stringify(command), buffers: [] });
    });
  }

  experiment(prompt) {
    return { model: this.model, prompt: prompt.text, bos: false, panes: [{ stack: [] }], draw: { tokens: 448 } };
  }

  /** Log-probabilities of the likeliest next tokens, [[id, value]], after checking that the prompt is read as these ids. */
  async likeliest(prompt) {
    const { outcome } = await this.call({ command: 'run', experiment: this.experiment(prompt) });
    const ids = outcome.tokens.map((token) => token.id);
    if (`${ids}` !== `${prompt.ids}`) throw new Error(`${this.name} reads the prompt as ${ids}`);
    return outcome.panes[0].next.map(({ id, probability }) => [id, Math.log(probability)]);
  }

  /** Reads the prompt and draws the token behind it, since a GPU answers before it has read; → milliseconds. */
  async prefill(prompt) {
    const start = performance.now();
    await this.call({ command: 'begin', experiment: this.experiment(prompt), pane: 0 });
    const { tokens } = await this.call({ command: 'burst', pane: 0, most: 1 });
    this.drawn = tokens[0].id;
    return performance.now() - start;
  }

  /** Writes on by `count` tokens behind the first; → { millis, ids }. The message to the worker and back is in the time. */
  async decode(count) {
    const ids = [];
    const start = performance.now();
    while (ids.length < count) {
      const burst = await this.call({ command: 'burst', pane: 0, most: count - ids.length });
      ids.push(...burst.tokens.map((token) => token.id));
      if (burst.ended) break;
    }
    return { millis: performance.now() - start, ids, first: this.drawn };
  }

  counts() {
    return new Promise((resolve) => {
      this.channel.onmessage = ({ data }) => data !== 'counts?' && resolve(data);
      this.channel.postMessage('counts?');
    });
  }

  close() {
    this.worker.terminate();
  }
}
