// The messages between a figure and the page that holds it. Generated from src/api/protocol.rs.

/**
 * An intervention.
 */
export type Act = "remove" | "patch" | "paths";

/**
 * Answers, by what was asked.
 */
export type Answer = { "answer": "done" } | { "answer": "state", 
/**
 * As in [`FromFigure::State`].
 */
state: State, } | { "answer": "numbers" } & Numbers | { "answer": "matrix" } & Matrix;

/**
 * What a figure can be asked.
 */
export type Ask = { "command": "engine" } | { "command": "state" } | { "command": "numbers" } | { "command": "matrix", 
/**
 * Which column.
 */
column: Part, };

/**
 * One mechanism with the values that differ from its defaults.
 */
export type Chip = { 
/**
 * The mechanism's id.
 */
id: string, 
/**
 * Values by key; absent keys stand for their defaults.
 */
values: { [key in string]: Plain }, };

/**
 * How a continuation is drawn; the seed is the experiment's.
 */
export type Draw = { 
/**
 * Most tokens to add.
 */
tokens: number, 
/**
 * Divides the logits; 0 takes the likeliest token.
 */
temperature: number, 
/**
 * Only this many likeliest tokens; 0 keeps all.
 */
top_k: number, 
/**
 * Only the likeliest tokens that together reach this probability; 1 keeps all.
 */
top_p: number, };

/**
 * The number by which taking out a head is judged.
 */
export type Effect = "loss" | "divergence" | "log_prob";

/**
 * Everything on screen.
 */
export type Experiment = { 
/**
 * Version of this format.
 */
version: number, 
/**
 * Id of a shipped model, or a path for the command line.
 */
model: string, 
/**
 * The text.
 */
prompt: string, 
/**
 * What pane B reads in its place; none is the same text.
 */
prompt_b: string | null, 
/**
 * Whether the beginning-of-sequence token stands in front.
 */
bos: boolean, 
/**
 * What is compared; A first.
 */
panes: Array<Pane>, 
/**
 * What is looked at.
 */
view: View, 
/**
 * What the instruments are set to.
 */
instruments: Instruments, 
/**
 * How a continuation is drawn.
 */
draw: Draw, 
/**
 * Seed of everything random.
 */
seed: bigint, };

/**
 * What the figure says.
 */
export type FromFigure = { "type": "ready", "payload": { 
/**
 * Version of the program.
 */
program: string, } } | { "type": "resize", "payload": { 
/**
 * Height of everything in it.
 */
height: number, } } | { "type": "state", "payload": State } | { "type": "result", "payload": Answer } | { "type": "error", "payload": { 
/**
 * A stable word: `version`, `message`, or a code of [`Error`].
 */
code: string, 
/**
 * One sentence.
 */
message: string, } };

/**
 * Zero-based layer and head, written `L5H1`.
 */
export type Head = { 
/**
 * Layer.
 */
layer: number, 
/**
 * Head.
 */
head: number, };

/**
 * Settings of every instrument.
 */
export type Instruments = { 
/**
 * Id of the token that is explained; none is the one the model finds likeliest.
 */
answer: number | null, 
/**
 * Id of the token it is compared with; none is the likeliest one under the corrupted prompt, or nothing.
 */
against: number | null, 
/**
 * What the logit lens puts before the vocabulary head.
 */
norm: LensNorm, 
/**
 * How the lens is laid out.
 */
layout: LensLayout, 
/**
 * Which intervention is on screen.
 */
act: Act, 
/**
 * Heads that are taken out together.
 */
ablate: Array<Head>, 
/**
 * What stands in their place.
 */
how: Removal, 
/**
 * The number a sweep over heads shows.
 */
effect: Effect, 
/**
 * The prompt that activations are patched into; the experiment's own is the clean one they come from.
 */
corrupted: string, 
/**
 * What is patched.
 */
site: PatchSite, 
/**
 * The number a patch is judged by.
 */
by: PatchMetric, 
/**
 * What of the pinned head reads the heads before it.
 */
through: Through, 
/**
 * Which study is on screen.
 */
study: Study, 
/**
 * Whom an evaluation asks.
 */
over: Over, 
/**
 * Items that an evaluation asks of each cell; 0 leaves it to the evaluation.
 */
items: number, 
/**
 * Answered examples before each question of a study of letters or facts, in [`SHOTS`].
 */
shots: number, 
/**
 * Options of each lettered question, in [`OPTIONS`].
 */
options: number, 
/**
 * Which sentence of its relation a fact is asked in, in [`TEMPLATES`].
 */
template: number, 
/**
 * By what the last layer's heads are multiplied in the study of facts, in [`LAMBDA`].
 */
lambda_a: number, 
/**
 * By what the last layer's feed-forward is multiplied there, in [`LAMBDA`].
 */
lambda_m: number, 
/**
 * What is added to the score of the examined position in the study of sinks, and taken from it, in [`BIAS`].
 */
bias: number, 
/**
 * Whether that study is of the prompt, and not of a set of texts.
 */
own: boolean, 
/**
 * Whether the norms of stream, key and value at the examined position are shown.
 */
norms: boolean, };

/**
 * How the logit lens is laid out.
 */
export type LensLayout = "positions" | "layers" | "compact";

/**
 * What stands between the residual stream and the vocabulary head.
 */
export type LensNorm = "final" | "none";

/**
 * One matrix as it is on screen.
 */
export type Matrix = { 
/**
 * `L1H5`.
 */
head: string, 
/**
 * `pattern`, `scores` or `value_weighted`.
 */
quantity: string, 
/**
 * Number of rows (queries) and of columns (keys).
 */
tokens: number, 
/**
 * Row by row; null where a pair is masked.
 */
values: Array<number | null>, };

/**
 * One message.
 */
export type Message<T> = { 
/**
 * Always `attnscope`.
 */
source: string, 
/**
 * Version of the protocol.
 */
version: number, 
/**
 * Ties an answer to its question; 0 wants none.
 */
id: number, } & T;

/**
 * A number per head on the wall.
 */
export type Metric = "sink_mass" | "entropy" | "distance" | "difference" | "previous";

/**
 * A possible next token.
 */
export type Next = { 
/**
 * Its text.
 */
text: string, 
/**
 * Its probability.
 */
probability: number, };

/**
 * Numbers of the newest run.
 */
export type Numbers = { 
/**
 * What the model saw.
 */
tokens: Array<string>, 
/**
 * One per pane, A first.
 */
panes: Array<PaneNumbers>, };

/**
 * How the wall is ordered.
 */
export type Order = "layer" | "sorted";

/**
 * Whom an evaluation asks.
 */
export type Over = "pane" | "heads" | "variants";

/**
 * One variant: mechanisms on the same model.
 */
export type Pane = { 
/**
 * Mechanisms in order; empty is plain softmax attention.
 */
stack: Array<Chip>, };

/**
 * Numbers of one pane.
 */
export type PaneNumbers = { 
/**
 * Mean loss on the prompt, nats per token.
 */
loss: number | null, 
/**
 * KL(A ‖ this) of the next token, nats; none in A.
 */
kl_next: number | null, 
/**
 * Loss here minus loss in A, nats per token; none in A.
 */
delta_loss: number | null, 
/**
 * Likeliest next tokens.
 */
next: Array<Next>, };

/**
 * A part of a figure that can be hidden.
 */
export type Panel = "prompt" | "text" | "tokens" | "write" | "panes" | "bar" | "matrices" | "a" | "b" | "difference" | "sentence" | "profiles" | "wall" | "tabs";

/**
 * A column of the stage.
 */
export type Part = "a" | "b" | "difference";

/**
 * The number a patch is judged by.
 */
export type PatchMetric = "logit_difference" | "log_prob" | "divergence";

/**
 * What is patched.
 */
export type PatchSite = "resid_pre" | "attn_out" | "mlp_out" | "heads";

/**
 * A scalar as it stands in JSON and links, before a [`Param`] has typed it.
 */
export type Plain = boolean | number | string;

/**
 * What the matrices show.
 */
export type Quantity = "pattern" | "scores" | "value_weighted";

/**
 * What stands in the place of a head that is taken out.
 */
export type Removal = "mean" | "zero" | "resample" | "uniform";

/**
 * How colours are scaled.
 */
export type Scale = "linear" | "sqrt" | "head";

/**
 * How far the engine is.
 */
export type Stage = "starting" | "loading" | "ready" | "failed";

/**
 * Where a figure stands.
 */
export type State = { 
/**
 * How far the engine is.
 */
stage: Stage, 
/**
 * Bytes of the model that have arrived, while it loads.
 */
bytes: number | null, 
/**
 * Bytes in all, when the server says.
 */
total: number | null, 
/**
 * Whether the numbers on screen are those of the experiment.
 */
fresh: boolean, 
/**
 * Everything on screen as a link's hash.
 */
link: string, 
/**
 * Everything on screen.
 */
experiment: Experiment, };

/**
 * A study: an experiment of many small steps. Its word is the id of its analysis.
 */
export type Study = "needles" | "helmet" | "choices" | "sink_set" | "sink_acts" | "sink_tracking" | "streaming" | "features" | "channels" | "retrieval" | "letters" | "safety" | "recall" | "anchors" | "calibration";

/**
 * A side tab.
 */
export type Tab = "sinks" | "roles" | "lens" | "interventions" | "studies" | "paper";

/**
 * Colours.
 */
export type Theme = "auto" | "light" | "dark";

/**
 * What of a head reads the heads before it.
 */
export type Through = "q" | "k" | "v";

/**
 * What the holder says.
 */
export type ToFigure = { "type": "state", "payload": Wish } | { "type": "command", "payload": Ask };

/**
 * What is looked at. Nothing here changes what is computed for a pane.
 */
export type View = { 
/**
 * The pinned head.
 */
pin: Head, 
/**
 * The pinned query position.
 */
query: number | null, 
/**
 * The pinned key position.
 */
key: number | null, 
/**
 * What the matrices show.
 */
quantity: Quantity, 
/**
 * How colours are scaled.
 */
scale: Scale, 
/**
 * The open side tab.
 */
tab: Tab, 
/**
 * The number under each head of the wall.
 */
metric: Metric, 
/**
 * How the wall is ordered.
 */
order: Order, 
/**
 * Which pane the wall shows, by index.
 */
wall: number, 
/**
 * Sink threshold ε.
 */
epsilon: number, 
/**
 * Position examined for sinks.
 */
position: number, 
/**
 * Mechanism on the paper tab; empty follows pane B.
 */
paper: string, };

/**
 * What a figure should show.
 */
export type Wish = { 
/**
 * A link's hash, with or without `#`.
 */
link?: string, 
/**
 * The same as data; it wins over the link.
 */
experiment?: Experiment, 
/**
 * Parts that are not shown.
 */
hide?: Array<Panel>, 
/**
 * Light or dark.
 */
theme?: Theme, };
