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
  model: Model;
  tokens: Token[];
  panes: Pane[];
  notices: string[];
}

export interface Model {
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

export interface Options {
  /** A shipped model. */
  model?: string;
  engine?: "auto" | "cpu" | "gpu";
  /** The folder where attnscope is served. */
  base?: string;
  progress?: (bytes: number, total: number | null) => void;
}

export function open(options?: Options): Promise<Engine>;

export class Engine {
  readonly facts: EngineFacts;
  readonly model: Model;
  run(experiment: Asked): Promise<Outcome>;
  head(pane: number, layer: number, head: number): Promise<{ scores: Numbers; pattern: Numbers; slot: Numbers | null; value_norms: Numbers }>;
  roles(experiment: Asked, pane?: number): Promise<unknown>;
  generate(experiment: Asked, options?: { pane?: number; most?: number }): AsyncGenerator<Burst, void, void>;
  check(mechanism: string): Promise<{ law: string; holds: boolean; deviation: number; allowed: number }[]>;
  mechanisms(): Promise<unknown[]>;
  dispose(): void;
}
