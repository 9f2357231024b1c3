// Types of attnscope.js. `Experiment` and what is in it are generated, see ../protocol/protocol.d.ts.
import type { Experiment } from "../protocol/protocol.js";

export type { Experiment } from "../protocol/protocol.js";

/** An experiment, or as much of it as differs from the default. */
export type Asked = Partial<Experiment>;

/** Row-major numbers; NaN where a pair is masked. */
export interface Numbers {
  shape: number[];
  data: Float32Array;
}

export interface Token {
  id: number;
  text: string;
  special: boolean;
}

export interface EngineFacts {
  tier: "cpu" | "web_gpu" | "web_gpu_f16";
  adapter: string;
  software: boolean;
  /** Why this tier and not a higher one. */
  reason: string;
  /** Largest deviation from the stored reference. */
  self_check: number | null;
}

export interface Pane {
  /** Likeliest next tokens, likeliest first. */
  next: { id: number; text: string; probability: number; probability_a: number }[];
  logits: number[];
  /** Nats, of each token given those before it. */
  token_loss: number[];
  loss: number | null;
  /** None in pane A. */
  versus_a: { kl_next: number; kl_mean: number; delta_loss: number | null } | null;
  price: { kv_bytes: number; flops_per_token: number; millis: number };
  /** `pattern` [layers, heads, queries, keys], `value_norms` [layers, heads, keys], `slot` where there is one. */
  arrays: Record<string, Numbers>;
}

export interface Outcome {
  engine: EngineFacts;
  model: Sizes;
  tokens: Token[];
  panes: Pane[];
  notices: string[];
}

export interface Sizes {
  id: string;
  family: string;
  layers: number;
  heads: number;
  kv_heads: number;
  head_width: number;
  width: number;
  vocabulary: number;
  context: number;
  parameters: number;
  file_bytes: number;
}

export interface Burst {
  tokens: Token[];
  /** Everything drawn so far. */
  text: string;
  millis: number;
  ended: boolean;
  /** Why it ended, where that is not the natural end. */
  notice: string | null;
}

/**
 * The id of a shipped model; `owner/name` on Hugging Face or an address with https://; a list of files; or bytes by file name
 * (`config.json`, `tokenizer.json`, `model.safetensors`; or a llama2.c `.bin` and its tokenizer).
 */
export type Model = string | Iterable<File> | Record<string, Blob | ArrayBuffer | Uint8Array>;

export interface Loading {
  /** Whether to keep a fetched model in this browser. */
  keep?: boolean;
  progress?: (bytes: number, total: number | null) => void;
  /** Stops a fetch. */
  signal?: AbortSignal;
}

export interface Options extends Loading {
  model?: Model;
  engine?: "auto" | "cpu" | "gpu";
  /** The folder where attnscope is served. */
  base?: string;
}

export function open(options?: Options): Promise<Engine>;

export class Engine {
  readonly facts: EngineFacts;
  readonly model: Sizes;
  loadModel(model: Model, options?: Loading): Promise<Sizes>;
  run(experiment: Asked): Promise<Outcome>;
  head(pane: number, layer: number, head: number): Promise<{ scores: Numbers; pattern: Numbers; slot: Numbers | null; value_norms: Numbers }>;
  capture(experiment: Asked, hooks: string | string[], options?: { pane?: number }): Promise<Record<string, Numbers>>;
  roles(experiment: Asked, pane?: number): Promise<unknown>;
  generate(experiment: Asked, options?: { pane?: number; most?: number; signal?: AbortSignal }): AsyncGenerator<Burst, void, void>;
  check(mechanism: string): Promise<{ law: string; holds: boolean; deviation: number; allowed: number }[]>;
  mechanisms(): Promise<unknown[]>;
  dispose(): void;
}
