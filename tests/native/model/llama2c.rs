//! stories260K: logits, attention, residual stream and five long continuations.

use crate::fixtures::{deviation, fixture, ids, json, numbers};
use attnscope::engine::{Forward, Request};
use attnscope::hook::{Selection, Site};
use attnscope::model::config::{Config, Pairing, Positions};
use attnscope::model::load::{Precision, save_safetensors};
use attnscope::model::sample::{Sampler, Sampling, generate};
use attnscope::model::{CpuModel, Files, Loaded, load};

/// The model, as any reader of the folder gets it.
pub fn loaded() -> Option<Loaded> {
    let files = Files::read(&fixture("llama2c")?).unwrap();
    Some(load("stories260K", &files).unwrap())
}

/// Logits within 1e-3, attention and residual stream within 1e-4 of the reference.
pub async fn check_numbers(model: &mut impl Forward) {
    let expected = json("llama2c/expected.json").unwrap();
    let stack = super::stack(&[]);
    for case in expected["logits"].as_array().unwrap() {
        let tokens = ids(&case["prompt_ids"]);
        let pass = model
            .forward(Request { tokens: &tokens, stack: &stack, seed: 0, wants: Selection::default() })
            .await
            .unwrap();
        assert_eq!(pass.logits.shape, [tokens.len(), 512]);
        let off = deviation(pass.logits.at(tokens.len() - 1), &numbers(&case["logits"]));
        assert!(off <= 1e-3, "{}: logits deviate by {off}", case["prompt"]);
    }
    let case = &expected["attention"];
    let tokens = ids(&case["prompt_ids"]);
    let wants = Selection::sites(&[Site::Pattern, Site::ResidPre, Site::ResidPost]);
    let pass = model.forward(Request { tokens: &tokens, stack: &stack, seed: 0, wants }).await.unwrap();
    for (layer, reference) in case["probabilities"].as_array().unwrap().iter().enumerate() {
        let pattern = pass.captures.get(layer, Site::Pattern).unwrap();
        assert_eq!(pattern.shape, [1, 8, tokens.len(), tokens.len()]);
        let off = deviation(&pattern.data, &numbers(reference));
        assert!(off <= 1e-4, "layer {layer}: attention deviates by {off}");
    }
    for (index, reference) in case["hidden_after_layer_last_position"].as_array().unwrap().iter().enumerate() {
        let point = if index == 0 { (0, Site::ResidPre) } else { (index - 1, Site::ResidPost) };
        let residual = pass.captures.get(point.0, point.1).unwrap();
        let off = deviation(&residual.data[residual.data.len() - 64..], &numbers(reference));
        assert!(off <= 1e-4, "residual stream after {index} layers deviates by {off}");
    }
    let off = deviation(pass.logits.at(tokens.len() - 1), &numbers(&case["logits_last_position"]));
    assert!(off <= 1e-3, "logits deviate by {off}");
}

/// Five greedy continuations of 200 tokens, token by token; `logits` as [`generate`] wants it.
pub async fn check_generations(loaded: &Loaded, mut logits: impl AsyncFnMut(&[u32]) -> attnscope::Result<Vec<f32>>) {
    let expected = json("llama2c/expected.json").unwrap();
    let cases = expected["generations"].as_array().unwrap();
    assert_eq!(cases.len(), 5);
    for case in cases {
        let prompt = loaded.tokenizer.encode(case["prompt"].as_str().unwrap(), true).unwrap();
        assert_eq!(prompt, ids(&case["prompt_ids"]), "{}", case["prompt"]);
        let sampler = Sampler::new(Sampling::default()).unwrap();
        let came = generate(&loaded.config, &prompt, 200, &sampler, &mut logits).await.unwrap();
        assert_eq!(came, ids(&case["generated_ids"]), "{}", case["prompt"]);
        let text = loaded.tokenizer.decode(&[prompt, came].concat()).unwrap();
        assert_eq!(text, case["full_text"].as_str().unwrap());
    }
}

#[test]
fn numbers_on_the_processor() {
    let Some(loaded) = loaded() else { return };
    assert_eq!(loaded.facts.parameters, 260_032);
    let mut model = CpuModel::new(&loaded.config, &loaded.weights).unwrap();
    pollster::block_on(check_numbers(&mut model));
}

/// The same model in Hugging Face's format, whose pairs are (j, j + D/2) instead of (2j, 2j + 1): the columns of every
/// head in another order. Its numbers must not change.
#[test]
fn numbers_after_a_detour_through_hugging_face() {
    let Some(Loaded { config, mut weights, .. }) = loaded() else { return };
    let width = config.head_width;
    for (name, array) in &mut weights.0 {
        if name.ends_with("attn.w_q") || name.ends_with("attn.w_k") {
            for head in array.data.chunks_mut(width) {
                let old = head.to_vec();
                for pair in 0..width / 2 {
                    (head[pair], head[pair + width / 2]) = (old[2 * pair], old[2 * pair + 1]);
                }
            }
        }
    }
    let config = Config { positions: Positions::Rotary { theta: 10_000.0, pairing: Pairing::Half }, ..config };
    let bytes = save_safetensors(&config, &weights, Precision::F32).unwrap();
    let again = load("m", &super::files::folder(&config).with("model.safetensors", bytes)).unwrap();
    let mut model = CpuModel::new(&again.config, &again.weights).unwrap();
    pollster::block_on(check_numbers(&mut model));
}

#[test]
fn continuations_by_decoding_on_the_processor() {
    let Some(loaded) = loaded() else { return };
    let model = CpuModel::new(&loaded.config, &loaded.weights).unwrap();
    let stack = super::stack(&[]);
    let mut decoder = model.decoder(&stack, 0);
    pollster::block_on(check_generations(&loaded, async |tokens: &[u32]| decoder.logits(tokens)));
}
