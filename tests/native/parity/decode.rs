//! Decoding on the GPU: cached equals uncached, and the draws are those of the processor.

use super::{MODEL, device, small_models, stack, tokens, weights};
use crate::model::{llama2c, nano_sort};
use attnscope::engine::{Forward, Request, price};
use attnscope::experiment::link;
use attnscope::gpu::decode::plan::{Lanes, Way};
use attnscope::gpu::decode::{Decode, Done, Drawn, MOST_BURST};
use attnscope::gpu::weights::Format;
use attnscope::gpu::{Device, GpuModel};
use attnscope::hook::Selection;
use attnscope::mechanism::{ALL, Stack, laws};
use attnscope::model::sample::{Sampler, Sampling};
use attnscope::model::{Config, CpuModel, Seen, Weights};
use pollster::block_on;
use std::collections::BTreeSet;
use std::rc::Rc;

fn sampler(sampling: Sampling) -> Sampler {
    Sampler::new(sampling).expect("it makes sense")
}

/// Logits of every position from `prompt` on, one token at a time, against those of one pass over the whole sequence.
fn assert_cached(name: &str, gpu: &mut GpuModel, stack: &Stack, sequence: &[u32], prompt: usize) {
    let request = Request { tokens: sequence, stack, seed: 5, wants: Selection::default() };
    let whole = block_on(gpu.forward(request)).expect("it runs").logits.data;
    // A device takes the lanes that suit it; both sums must be right on each.
    for lanes in [Lanes::Shared, Lanes::Alone] {
        let decode = block_on(gpu.decode_with(stack.clone(), 5, Way { lanes, keep: false })).expect("it fits");
        assert_follows(&format!("{name}, lanes {lanes:?}"), decode, gpu.config().vocabulary, &whole, sequence, prompt);
    }
}

fn assert_follows(name: &str, mut decode: Decode, vocabulary: usize, whole: &[f32], sequence: &[u32], prompt: usize) {
    block_on(decode.read(sequence, prompt, &sampler(Sampling::default()))).expect("it reads");
    for position in prompt - 1..sequence.len() - 1 {
        let drawn = block_on(decode.burst(1)).expect("it runs");
        assert_eq!(drawn, Drawn { tokens: vec![sequence[position + 1]], done: None }, "{name}");
        let logits = block_on(decode.logits()).expect("it reads");
        let excess = MODEL.excess(&logits, &whole[position * vocabulary..(position + 1) * vocabulary]);
        assert!(excess <= 1.0, "{name}: logits at {position} deviate by {excess} times the tolerance");
    }
}

#[test]
fn cached_logits_are_those_of_the_whole_pass() {
    let device = device();
    for (name, config) in small_models() {
        let weights = weights(&config);
        for format in [Format::F32, Format::F16, Format::I8] {
            let mut gpu = block_on(GpuModel::stored(device.clone(), &config, &weights, format)).expect("it fits");
            let name = format!("{name}, {format:?}");
            for (count, prompt) in [(9, 1), (20, 3), (70, 67)] {
                assert_cached(&name, &mut gpu, &stack(&[]), &tokens(&config, count), prompt);
            }
        }
    }
}

/// Mechanisms that continue a text on the processor only, because
/// - the sums of weights that each key has got so far have no kernel that carries them on (attention_calibration);
/// - a layer's weights or list serve later layers, and choosing or leaving them takes dispatches beyond the five of a layer
///   (echo_att, tidal_decode);
/// - all tokens are sorted anew for every token (hyper_attention);
/// - a token is dense but the prompt is chosen as a whole, its last token included, while chunks end before it (minference);
/// - a token sees those behind it (prefix_lm);
/// - clusters that follow the tokens, and features of every key, are states with kernels of their own that nobody has written
///   (routing_attention, scatterbrain);
/// - a latent is kept in place of keys and values (trans_mla).
const ON_PROCESSOR_ONLY: &[&str] = &[
    "attention_calibration",
    "echo_att",
    "hyper_attention",
    "minference",
    "prefix_lm",
    "routing_attention",
    "scatterbrain",
    "tidal_decode",
    "trans_mla",
];

#[test]
fn every_mechanism_decodes_as_it_passes() {
    let device = device();
    let config = Config::llama(97, 48, 2, 6, 3, 56);
    let mut gpu = block_on(GpuModel::new(device, &config, &weights(&config))).expect("it fits");
    let mut skipped = BTreeSet::new();
    for mechanism in ALL.iter().filter(|mechanism| mechanism.wgsl.is_some()) {
        for values in laws::corners(mechanism) {
            let alone = Stack::alone(mechanism, values).expect("legal");
            // What decodes on the processor only says so.
            if block_on(gpu.decode(alone.clone(), 5)).is_err_and(|error| error.code() == "unsupported") {
                skipped.insert(mechanism.id);
                continue;
            }
            assert_cached(mechanism.id, &mut gpu, &alone, &tokens(&config, 12), 4);
        }
    }
    assert!(skipped.iter().eq(ON_PROCESSOR_ONLY), "{skipped:?} do not decode on the GPU");
    assert_cached(
        "all at once",
        &mut gpu,
        &stack(&["alibi", "streaming_window", "attention_sink_operators"]),
        &tokens(&config, 40),
        9,
    );
}

/// What nobody asks for again is overwritten, many times: every logit is that of the processor's whole pass, in prompts of one
/// token and of several chunks, and no more is held than the most that the price says.
#[test]
fn a_ring_holds_what_is_priced_past_many_wraps() {
    let device = device();
    let llama = Config { context: 220, ..Config::llama(97, 48, 2, 6, 3, 56) };
    let few: &[&str] = &["streaming_window(sinks:2,window:5)"];
    let many: &[&str] = &[
        "streaming_window(sinks:4,window:16)",
        "streaming_window(sinks:2,window:21),softplus_reweighting",
        "streaming_window(sinks:0,window:1),alibi,attention_sink_operators",
        "duo_attention(sinks:2,window:9,gates:random)",
        "neighborhood_attention(neighbours:3,dilation:4,alternate:true)",
        "halo_attention(block:16,halo:8)",
    ];
    let gpt2 = Config { context: 220, ..Config::gpt2(101, 40, 1, 4, 128) };
    let neox = Config { context: 220, ..Config::neox(97, 48, 1, 6, 128) };
    for (name, config, stacks) in [("llama", llama, many), ("gpt2", gpt2, few), ("neox", neox, few)] {
        let weights = weights(&config);
        let gpu = block_on(GpuModel::new(device.clone(), &config, &weights)).expect("it fits");
        let mut cpu = CpuModel::new(&config, &weights).expect("it is whole");
        let sequence = tokens(&config, 200);
        for (index, text) in stacks.iter().enumerate() {
            let chips = link::read(&format!("a={text}")).expect("it reads").experiment.panes.remove(0).stack;
            let stack = Stack::new("a", &chips).expect("legal");
            let request = Request { tokens: &sequence, stack: &stack, seed: 5, wants: Selection::default() };
            let whole = block_on(cpu.forward(request)).expect("it runs").logits.data;
            let whole_cache = 8 * config.layers * config.kv_heads * config.head_width * config.context;
            // Over the tokens of a block, and where a head that keeps everything has all of it.
            let counts = (100..116).chain([config.context]);
            let priced = counts.map(|count| price(&config, &stack, 5, count).kv_bytes).max();
            let [most, few] = if index % 2 == 0 { [150, 1] } else { [30, 129] };
            for (lanes, prompt) in [(Lanes::Shared, most), (Lanes::Alone, few)] {
                let name = format!("{name}, {text}, lanes {lanes:?}, prompt {prompt}");
                let decode = block_on(gpu.decode_with(stack.clone(), 5, Way { lanes, keep: false })).expect("it fits");
                assert_eq!(Some(decode.cache_bytes() as usize), priced, "{name}");
                assert!(decode.cache_bytes() < whole_cache as u64, "{name}: nothing is won");
                assert_follows(&name, decode, config.vocabulary, &whole, &sequence, prompt);
            }
            let keep = Way { lanes: Lanes::Alone, keep: true };
            let kept = block_on(gpu.decode_with(stack.clone(), 5, keep)).expect("it fits").cache_bytes();
            assert_eq!(kept, whole_cache as u64, "{name}, {text}: whoever looks sees all");
        }
    }
}

/// A mixer with a state holds the matrices that are priced and nothing else, and writes the text of the processor; its left
/// product has no state and keeps everything.
#[test]
fn a_state_writes_the_text_of_the_processor() {
    let device = device();
    let config = Config { context: 320, ..Config::llama(97, 48, 3, 6, 3, 56) };
    let weights = weights(&config);
    let gpu = block_on(GpuModel::new(device, &config, &weights)).expect("it fits");
    let cpu = CpuModel::new(&config, &weights).expect("it is whole");
    let greedy = sampler(Sampling::default());
    for text in [
        "lightning_attention",
        "lightning_attention(algorithm:right,decay:paper)",
        "lightning_attention(srms_norm:false)",
        "lightning_attention(algorithm:left)",
    ] {
        let chips = link::read(&format!("a={text}")).expect("it reads").experiment.panes.remove(0).stack;
        let stack = Stack::new("a", &chips).expect("legal");
        for (lanes, prompt) in [(Lanes::Shared, 7), (Lanes::Alone, 1)] {
            let way = Way { lanes, keep: false };
            let mut decode = block_on(gpu.decode_with(stack.clone(), 5, way)).expect("it fits");
            assert_eq!(decode.cache_bytes() as usize, price(&config, &stack, 5, config.context).kv_bytes, "{text}");
            assert_eq!(decode.dispatches(), 5 * config.layers + 2, "{text}");
            let prompt = tokens(&config, prompt);
            let reference = expected(&config, &cpu, &stack, &prompt, &greedy, 200);
            // Twice, since what the first continuation has left must not matter to the second.
            for bursts in [&[MOST_BURST][..], &[7, 1]] {
                assert_eq!(came(&mut decode, &prompt, &greedy, 200, bursts), reference, "{text}, {lanes:?}");
            }
        }
        let keep = Way { lanes: Lanes::Alone, keep: true };
        let mut decode = block_on(gpu.decode_with(stack, 5, keep)).expect("it fits");
        assert_eq!(came(&mut decode, &[5, 9, 2], &greedy, 3, &[3]).tokens.len(), 3);
        let refused = block_on(decode.maps(0, 0, 0)).err().map(|error| error.code());
        assert_eq!(refused, Some("unsupported"), "{text}: there is nothing to make maps of");
    }
}

/// Keeping queries moves them and computes nothing else: every logit keeps its bits in bursts of any size, and the maps are
/// those of a whole pass.
#[test]
fn maps_of_what_was_written_cost_no_bit() {
    let device = device();
    for (name, config) in small_models() {
        let mut gpu = block_on(GpuModel::new(device.clone(), &config, &weights(&config))).expect("it fits");
        for stack in [stack(&[]), stack(&["alibi", "streaming_window", "attention_sink_operators"])] {
            let prompt = tokens(&config, 9);
            let written = |keep: bool, bursts: &[usize]| {
                let mut decode =
                    block_on(gpu.decode_with(stack.clone(), 5, Way { lanes: Lanes::Alone, keep })).expect("it fits");
                block_on(decode.read(&prompt, 9, &sampler(Sampling::default()))).expect("it reads");
                let mut all = prompt.clone();
                for burst in bursts {
                    all.extend(block_on(decode.burst(*burst)).expect("it runs").tokens);
                }
                let logits = block_on(decode.logits()).expect("it reads");
                (decode, all, logits.into_iter().map(f32::to_bits).collect::<Vec<_>>())
            };
            let (lean, sequence, logits) = written(false, &[1, 4, 3]);
            let (kept, same, bits) = written(true, &[8]);
            assert_eq!((&same, bits), (&sequence, logits), "{name}");
            assert_eq!(block_on(lean.maps(0, 0, 0)).expect_err("it has none").code(), "internal");
            assert_eq!(block_on(kept.maps(config.layers, 0, 0)).expect_err("there is none").code(), "unknown");
            // The token drawn last was not fed.
            let fed = sequence.len() - 1;
            assert_eq!(block_on(kept.maps(0, 0, fed)).expect("it is empty").pattern.shape, [0, fed]);
            let request = Request { tokens: &sequence[..fed], stack: &stack, seed: 5, wants: Selection::default() };
            for (layer, head, first) in [(0, 0, 0), (config.layers - 1, config.heads - 1, 11)] {
                let whole = block_on(gpu.head_maps(&request, layer, head)).expect("it runs");
                let maps = block_on(kept.maps(layer, head, first)).expect("it runs");
                assert_eq!(maps.pattern.shape, [fed - first, fed]);
                for (came, expected) in [(&maps.scores, &whole.scores), (&maps.pattern, &whole.pattern)] {
                    let excess = MODEL.excess(&came.data, &expected.data[first * fed..]);
                    assert!(excess <= 1.0, "{name}, L{layer}H{head}: maps deviate by {excess} times the tolerance");
                }
            }
        }
    }
}

/// A continuation by the processor, and why it ended.
fn expected(config: &Config, cpu: &CpuModel, stack: &Stack, prompt: &[u32], sampler: &Sampler, count: usize) -> Drawn {
    let (mut seen, mut tokens) = (Seen::default(), prompt.to_vec());
    let mut done = None;
    while tokens.len() < prompt.len() + count && done.is_none() {
        if tokens.len() == config.context {
            done = Some(Done::Full);
            break;
        }
        let next = sampler.pick(&cpu.decode(&mut seen, stack, 5, &tokens).expect("it decodes"), tokens.len());
        match config.ends(next) {
            true => done = Some(Done::Document),
            false => tokens.push(next),
        }
    }
    Drawn { tokens: tokens.split_off(prompt.len()), done }
}

/// A continuation by the GPU in bursts of these sizes, over and over.
fn came(decode: &mut Decode, prompt: &[u32], sampler: &Sampler, count: usize, bursts: &[usize]) -> Drawn {
    block_on(decode.read(prompt, prompt.len(), sampler)).expect("it reads");
    let mut all = Drawn::default();
    for burst in bursts.iter().cycle() {
        let left = count - all.tokens.len();
        if left == 0 || all.done.is_some() {
            break;
        }
        let drawn = block_on(decode.burst((*burst).min(left))).expect("it runs");
        all.tokens.extend(drawn.tokens);
        all.done = drawn.done;
    }
    all
}

#[test]
fn draws_are_those_of_the_processor() {
    let device = device();
    for (name, mut config) in small_models() {
        config.eos = Some(3);
        let weights = weights(&config);
        let gpu = block_on(GpuModel::new(device.clone(), &config, &weights)).expect("it fits");
        let cpu = CpuModel::new(&config, &weights).expect("it is whole");
        let stack = stack(&["alibi"]);
        let mut decode = block_on(gpu.decode(stack.clone(), 5)).expect("it fits");
        let warm = Sampling { temperature: 0.8, seed: 7 << 33, ..Sampling::default() };
        for (sampling, bursts) in [
            (Sampling::default(), &[1, 5, 2][..]),
            (warm, &[MOST_BURST]),
            (Sampling { top_k: 5, ..warm }, &[3]),
            (Sampling { top_p: 0.6, ..warm }, &[7]),
            (Sampling { top_k: 40, top_p: 0.9, temperature: 1.3, seed: 1 }, &[4, 1]),
        ] {
            for (seed, prompt) in [(0, 1), (1, 6), (2, 30)] {
                let sampler = sampler(Sampling { seed: sampling.seed + seed, ..sampling });
                let prompt = tokens(&config, prompt);
                let reference = expected(&config, &cpu, &stack, &prompt, &sampler, 60);
                let drawn = came(&mut decode, &prompt, &sampler, 60, bursts);
                assert_eq!(drawn, reference, "{name}: {sampling:?} behind {} tokens", prompt.len());
            }
        }
    }
}

#[test]
fn a_full_context_and_a_document_end_a_burst_in_its_midst() {
    let device = device();
    let config = Config { context: 40, ..Config::llama(97, 48, 2, 6, 3, 56) };
    let gpu = block_on(GpuModel::new(device.clone(), &config, &weights(&config))).expect("it fits");
    let mut decode = block_on(gpu.decode(stack(&[]), 0)).expect("it fits");
    let greedy = sampler(Sampling::default());
    let whole = came(&mut decode, &[5, 9, 2], &greedy, 100, &[MOST_BURST]);
    assert_eq!((whole.tokens.len(), whole.done), (37, Some(Done::Full)));
    // Asked again, it stays where it is.
    assert_eq!(block_on(decode.burst(3)).expect("it runs"), Drawn { tokens: Vec::new(), done: Some(Done::Full) });
    // A prompt that fills the context has no room for a token, one that is one shorter has room for one.
    let long = tokens(&config, 40);
    assert_eq!(came(&mut decode, &long, &greedy, 5, &[4]), Drawn { tokens: Vec::new(), done: Some(Done::Full) });
    assert_eq!(came(&mut decode, &long[..39], &greedy, 5, &[4]).tokens.len(), 1);
    // The first token that differs from those before it, as the end of a document.
    let place = (1..37).find(|place| !whole.tokens[..*place].contains(&whole.tokens[*place])).expect("it varies");
    let config = Config { eos: Some(whole.tokens[place]), ..config };
    let gpu = block_on(GpuModel::new(device, &config, &weights(&config))).expect("it fits");
    let mut decode = block_on(gpu.decode(stack(&[]), 0)).expect("it fits");
    let ended = came(&mut decode, &[5, 9, 2], &greedy, 100, &[MOST_BURST]);
    assert_eq!(ended, Drawn { tokens: whole.tokens[..place].to_vec(), done: Some(Done::Document) });
}

#[test]
fn a_number_that_is_not_finite_ends_a_burst() {
    let config = Config::llama(97, 48, 2, 6, 3, 56);
    let mut weights = weights(&config);
    // A product beyond f32: infinite, then NaN in the norm.
    for name in ["blocks.1.ffn.w_in", "blocks.1.ffn.w_out"] {
        weights.0.get_mut(name).expect("it is there").data.iter_mut().for_each(|value| *value *= 1e30);
    }
    let gpu = block_on(GpuModel::new(device(), &config, &weights)).expect("it fits");
    let mut decode = block_on(gpu.decode(stack(&[]), 0)).expect("it fits");
    let hot = Sampling { temperature: 1.0, top_k: 3, ..Sampling::default() };
    for sampling in [Sampling::default(), hot] {
        let drawn = came(&mut decode, &[5, 9, 2], &sampler(sampling), 9, &[4]);
        assert_eq!(drawn, Drawn { tokens: Vec::new(), done: Some(Done::Fault) });
    }
}

/// Refused before anything is allocated, with both sizes, on a device that binds less than it takes.
#[test]
fn a_cache_that_does_not_fit_is_refused_with_both_sizes() {
    let config =
        Config { kv_heads: 256, heads: 256, head_width: 256, context: 4096, ..Config::llama(20, 4, 1, 1, 1, 4) };
    let device = device();
    let (needed, most) = (256 * 256 * 2048 * 4u64, device.most_bytes());
    let gpu = block_on(GpuModel::new(device, &config, &Weights::init(&config, 0))).expect("the weights fit");
    match block_on(gpu.decode(stack(&[]), 0)) {
        Ok(decode) => assert!(needed <= most && decode.room() == 2048),
        Err(error) => {
            let error = error.to_string();
            assert!(
                needed > most && error.contains(&needed.to_string()) && error.contains(&most.to_string()),
                "{error}"
            );
        }
    }
}

#[test]
fn one_token_is_five_dispatches_per_layer_and_two_or_four_where_blocks_are_parallel() {
    let device = device();
    for (name, config) in small_models() {
        let gpu = block_on(GpuModel::new(device.clone(), &config, &weights(&config))).expect("it fits");
        let decode = block_on(gpu.decode(stack(&[]), 0)).expect("it fits");
        let per_layer = if config.parallel { 4 } else { 5 };
        assert_eq!(decode.dispatches(), per_layer * config.layers + 2, "{name}");
    }
}

#[test]
fn published_continuations_by_decoding_on_the_gpu() {
    let Some(loaded) = llama2c::loaded() else { return };
    let gpu = block_on(GpuModel::new(device(), &loaded.config, &loaded.weights)).expect("it fits");
    let mut decode = block_on(gpu.decode(stack(&[]), 0)).expect("it fits");
    let mut ahead: Vec<u32> = Vec::new();
    block_on(llama2c::check_generations(&loaded, async |tokens: &[u32]| {
        // Asked for logits, answered from a burst: one-hot rows of what was drawn.
        if !ahead.starts_with(tokens) || ahead.len() == tokens.len() {
            if !ahead.is_empty() && tokens.starts_with(&ahead) {
                ahead.extend(decode.burst(25).await?.tokens);
            } else {
                decode.read(tokens, tokens.len(), &sampler(Sampling::default())).await?;
                ahead = [tokens, &decode.burst(25).await?.tokens].concat();
            }
        }
        let mut row = vec![0.0; loaded.config.vocabulary];
        row[ahead[tokens.len()] as usize] = 1.0;
        Ok(row)
    }));
}

#[test]
fn the_sorting_model_sorts_by_decoding() {
    let Some((config, weights)) = nano_sort::loaded() else { return };
    sorts(device(), &config, &weights);
}

fn sorts(device: Rc<Device>, config: &Config, weights: &Weights) {
    let gpu = block_on(GpuModel::new(device, config, weights)).expect("it fits");
    let mut decode = block_on(gpu.decode(stack(&[]), 0)).expect("it fits");
    for (prompt, sorted) in [([2, 0, 1, 1, 0, 2], [0, 0, 1, 1, 2]), ([1, 0, 2, 0, 0, 1], [0, 0, 0, 1, 1])] {
        // The context of 11 leaves room for five of the six.
        let drawn = came(&mut decode, &prompt, &sampler(Sampling::default()), 6, &[6]);
        assert_eq!(drawn, Drawn { tokens: sorted.to_vec(), done: Some(Done::Full) });
    }
}
