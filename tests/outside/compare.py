"""Compares attnscope with Hugging Face transformers on random checkpoints of every supported family and option."""

import argparse
import copy
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import tokenizers
import torch
import transformers
from transformers import GPT2Config, GPT2LMHeadModel, GPTNeoXConfig, GPTNeoXForCausalLM, LlamaConfig, LlamaForCausalLM

ROOT = Path(__file__).resolve().parents[2]
LETTERS = "abcdefghijklmnopqrstuvwxyz.,!? "
TOKENS = 14
GREEDY = 16
EPSILON = 0.3

SMALL = {"vocab_size": len(LETTERS), "bos_token_id": None, "eos_token_id": None, "pad_token_id": None}


def gpt2(**options):
    sizes = {"n_embd": 24, "n_layer": 2, "n_head": 3, "n_positions": 48, "resid_pdrop": 0, "embd_pdrop": 0, "attn_pdrop": 0}
    return GPT2LMHeadModel, GPT2Config(**{**SMALL, **sizes, **options})


def llama(**options):
    sizes = {"hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 6,
             "num_key_value_heads": 3, "max_position_embeddings": 48}
    return LlamaForCausalLM, LlamaConfig(**{**SMALL, **sizes, **options})


def neox(rotary=0.25, theta=10000.0, **options):
    sizes = {"hidden_size": 24, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 3,
             "max_position_embeddings": 48}
    rope = {"rope_type": "default", "rope_theta": theta, "partial_rotary_factor": rotary}
    return GPTNeoXForCausalLM, GPTNeoXConfig(**{**SMALL, **sizes, "rope_parameters": rope, **options})


def rope(theta):
    return {"rope_type": "default", "rope_theta": theta}


# Name, model, how it is saved. What stands in GOLDENS is stored in the repository.
CASES = {
    "gpt2": gpt2(),
    "gpt2 relu, inner width": gpt2(activation_function="relu", n_inner=20),
    "gpt2 exact gelu, untied": gpt2(activation_function="gelu", tie_word_embeddings=False),
    "gpt2 tanh gelu": gpt2(activation_function="gelu_pytorch_tanh", layer_norm_epsilon=1e-3),
    "gpt2 silu, one head": gpt2(activation_function="silu", n_head=1),
    "llama": llama(),
    "llama one key head, tied": llama(num_key_value_heads=1, tie_word_embeddings=True),
    "llama a key head each": llama(num_key_value_heads=6, rope_parameters=rope(500.0)),
    "llama biases": llama(attention_bias=True, mlp_bias=True),
    "llama wide heads": llama(head_dim=10, num_attention_heads=4, num_key_value_heads=2),
    "llama relu": llama(hidden_act="relu", rms_norm_eps=1e-3),
    "llama gelu": llama(hidden_act="gelu"),
    "neox": neox(),
    "neox in sequence": neox(use_parallel_residual=False),
    "neox whole rotation, no biases of attention": neox(rotary=1.0, attention_bias=False),
    "neox half rotation, tied": neox(rotary=0.5, theta=300.0, tie_word_embeddings=True),
    "neox tanh gelu": neox(hidden_act="gelu_new", layer_norm_eps=1e-3),
    "neox relu, narrow": neox(hidden_act="relu", intermediate_size=20),
}
GOLDENS = ["gpt2", "gpt2 exact gelu, untied", "llama", "llama biases", "llama wide heads", "neox", "neox in sequence",
           "neox whole rotation, no biases of attention", "neox half rotation, tied"]
PRECISIONS = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}


def make(name, precision):
    """A model with weights far from their initial values, rounded to the precision they are saved in."""
    kind, config = CASES[name]
    config._attn_implementation = "eager"
    torch.manual_seed(sum(name.encode()))
    model = kind(config).eval()
    with torch.no_grad():
        for key, weight in model.named_parameters():
            weight.normal_(0, 0.2)
            if "norm" in key and key.endswith("weight") or ".ln_" in key and key.endswith("weight"):
                weight.add_(1.0)
            # Only the weights: a model that is converted as a whole has its rotation rounded too.
            weight.copy_(weight.to(PRECISIONS[precision]))
    return model


def save(model, precision, folder, shards=False):
    copy.deepcopy(model).to(PRECISIONS[precision]).save_pretrained(folder, max_shard_size="10KB" if shards else "1GB")
    for extra in Path(folder).glob("generation_config.json"):
        extra.unlink()
    vocab = {letter: index for index, letter in enumerate(LETTERS)}
    tokenizer = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
                 "pre_tokenizer": None, "post_processor": None, "decoder": {"type": "Fuse"},
                 "model": {"type": "BPE", "vocab": vocab, "merges": []}}
    (Path(folder) / "tokenizer.json").write_text(json.dumps(tokenizer))


def tokens_of(name):
    return np.random.default_rng(sum(name.encode())).integers(0, len(LETTERS), TOKENS).tolist()


def reference(model, tokens):
    """In f64: logits [T,V], patterns [L,H,T,T], residual stream before every layer and normalised at the end [L+1,T,M]."""
    with torch.no_grad():
        out = model.double()(torch.tensor([tokens]), output_attentions=True, output_hidden_states=True)
    stack = lambda arrays: np.stack([array[0].double().numpy() for array in arrays])
    return {"logits": out.logits[0].double().numpy(), "pattern": stack(out.attentions),
            "resid_pre": stack(out.hidden_states[:-1]), "ln_final": out.hidden_states[-1][0].double().numpy()}


def greedy(model, tokens):
    ids = list(tokens)
    with torch.no_grad():
        for _ in range(GREEDY):
            ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
    return ids[len(tokens):]


# Metrics, written from their definitions and not from attnscope's code.

def importance(pattern):
    """Column sums over the number of queries that may see the key, [L,H,K]."""
    keys = pattern.shape[-1]
    return pattern.sum(-2) / (keys - np.arange(keys))


def sink_rate(pattern, epsilon):
    """Share of heads whose importance of each position passes the threshold, [K]."""
    return (importance(pattern) > epsilon).reshape(-1, pattern.shape[-1]).mean(0)


def induction(pattern, half):
    """Mean weight of queries of the second half on the token after the earlier occurrence, [L,H]."""
    return np.mean([pattern[..., query, query - half + 1] for query in range(half, 2 * half)], axis=0)


def attribution(model, tokens, token):
    """The logit of a token after the last position as a sum: embedding, each layer's heads and feed-forward, biases."""
    parts, kept = {}, {}
    keep = lambda name: lambda module, inputs, output: kept.__setitem__(
        name, (inputs[0] if name.startswith("in") else output[0] if isinstance(output, tuple) else output).detach())
    base = model.base_model
    layers = base.h if hasattr(base, "h") else base.layers
    hooks = []
    for index, layer in enumerate(layers):
        attention = next(getattr(layer, name) for name in ("attn", "self_attn", "attention") if hasattr(layer, name))
        out = next(getattr(attention, name) for name in ("c_proj", "o_proj", "dense") if hasattr(attention, name))
        hooks += [out.register_forward_hook(keep(f"in.{index}")), layer.mlp.register_forward_hook(keep(f"mlp.{index}"))]
        kept[f"out.{index}"] = out
    norm = next(getattr(base, name) for name in ("ln_f", "norm", "final_layer_norm") if hasattr(base, name))
    hooks.append(norm.register_forward_hook(keep("in.norm")))
    with torch.no_grad():
        out = model(torch.tensor([tokens]), output_hidden_states=True)
    for hook in hooks:
        hook.remove()
    last = lambda tensor: tensor[0, -1].double().numpy()
    end = last(kept["in.norm"])
    centred = hasattr(norm, "bias") and norm.bias is not None
    epsilon = getattr(norm, "eps", None) or norm.variance_epsilon
    scale = np.sqrt((end.var() if centred else np.mean(end**2)) + epsilon)
    direction = model.get_output_embeddings().weight[token].detach().double().numpy()
    gain = norm.weight.detach().double().numpy()
    through = lambda part: float(((part - part.mean() if centred else part) / scale * gain) @ direction)
    heads = model.config.num_attention_heads
    if hasattr(base, "wpe"):
        parts["embedding"] = through(base.wte.weight[tokens[-1]].detach().double().numpy())
        parts["position"] = through(base.wpe.weight[len(tokens) - 1].detach().double().numpy())
    else:
        parts["embedding"] = through(last(out.hidden_states[0]))
    for index in range(len(layers)):
        z, projection = last(kept[f"in.{index}"]).reshape(heads, -1), kept[f"out.{index}"]
        weight = projection.weight.detach().double().numpy()
        weight = weight if type(projection).__name__ == "Conv1D" else weight.T
        for head, rows in enumerate(weight.reshape(heads, -1, weight.shape[-1])):
            parts[f"L{index}H{head}"] = through(z[head] @ rows)
        if projection.bias is not None:
            parts[f"attention bias {index}"] = through(projection.bias.detach().double().numpy())
        parts[f"feed-forward {index}"] = through(last(kept[f"mlp.{index}"]))
    if centred:
        parts["final bias"] = float(norm.bias.detach().double().numpy() @ direction)
    logit = float(out.logits[0, -1, token])
    assert abs(sum(parts.values()) - logit) < 1e-4 * max(1, abs(logit)), "the parts do not make the logit"
    return parts


def golden(name, folder):
    """Stores a checkpoint in half precision, and what the library makes of it."""
    model = make(name, "f16")
    save(model, "f16", folder)
    tokens = tokens_of(name)
    half = TOKENS // 2
    repeated = np.random.default_rng(1).permutation(len(LETTERS))[:half].tolist() * 2
    numbers = reference(model, tokens)
    token = int(numbers["logits"][-1].argmax())
    rounded = lambda array: [float(f"{value:.7g}") for value in np.asarray(array).ravel()]
    pattern = numbers["pattern"]
    expected = {
        "made_with": {"transformers": transformers.__version__, "torch": torch.__version__},
        "tokens": tokens, "greedy": greedy(model, tokens), "repeated": repeated, "token": token, "epsilon": EPSILON,
        **{key: rounded(array) for key, array in numbers.items()},
        "importance": rounded(importance(pattern)), "sink_rate": rounded(sink_rate(pattern, EPSILON)),
        "induction": rounded(induction(reference(model, repeated)["pattern"], half)),
        "attribution": {part: float(f"{value:.7g}") for part, value in attribution(model, tokens, token).items()},
    }
    (Path(folder) / "expected.json").write_text(json.dumps(expected) + "\n")


def ask(binary, *words):
    done = subprocess.run([binary, *words], capture_output=True, text=True, cwd=ROOT)
    if done.returncode != 0:
        sys.exit(f"attnscope {' '.join(words)}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def deviation(came, wanted):
    wanted = np.asarray(wanted)
    return float(np.abs(came.reshape(wanted.shape) - wanted).max() / max(np.abs(wanted).max(), 1e-9))


def compare(binary, engine, name, precision, shards):
    """The largest deviation of each activation as a share of its largest value, and whether the greedy text is equal."""
    model, tokens = make(name, precision), tokens_of(name)
    text = "".join(LETTERS[token] for token in tokens)
    with tempfile.TemporaryDirectory() as folder:
        save(model, precision, folder, shards)
        experiment = {"version": 1, "model": folder, "prompt": text, "bos": False, "panes": [{"stack": []}]}
        (Path(folder) / "experiment.json").write_text(json.dumps(experiment))
        out = str(Path(folder) / "out.npz")
        sites = "blocks.*.attn.hook_pattern,blocks.*.hook_resid_pre,ln_final.hook_normalized,logits"
        outcome = ask(binary, "run", f"{folder}/experiment.json", "--engine", engine, "--capture", sites, "--out", out)
        written = ask(binary, "generate", "--json", "--model", folder, "--prompt", text, "--no-bos", "--tokens",
                      str(GREEDY), "--engine", engine, "--greedy")
        arrays = dict(np.load(out))
    assert [token["id"] for token in outcome["tokens"]] == tokens, "the prompt has other tokens"
    numbers = reference(model, tokens)
    layers = range(len(numbers["pattern"]))
    came = {"logits": arrays["logits"], "ln_final": arrays["ln_final.hook_normalized"],
            "pattern": np.stack([arrays[f"blocks.{layer}.attn.hook_pattern"] for layer in layers]),
            "resid_pre": np.stack([arrays[f"blocks.{layer}.hook_resid_pre"] for layer in layers])}
    off = {key: deviation(came[key], numbers[key]) for key in came}
    wanted = greedy(model, tokens)
    decoded = tokenizers.Tokenizer.from_str(json.dumps({
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
        "pre_tokenizer": None, "post_processor": None, "decoder": {"type": "Fuse"},
        "model": {"type": "BPE", "vocab": {letter: index for index, letter in enumerate(LETTERS)}, "merges": []}}))
    equal = written["generated_ids"] == wanted and written["text"] == decoded.decode(wanted)
    return off, equal, outcome["engine"]["adapter"]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--attnscope", default=str(ROOT / "target/release/attnscope"), help="the command line")
    parser.add_argument("--engine", default="cpu", choices=["cpu", "gpu"])
    parser.add_argument("--goldens", action="store_true", help="write tests/golden/outside instead")
    parser.add_argument("--out", default=str(ROOT / "tests/reliability/outside.json"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.goldens:
        for name in GOLDENS:
            folder = ROOT / "tests/golden/outside" / name.replace(",", "").replace(" ", "-")
            folder.mkdir(parents=True, exist_ok=True)
            golden(name, folder)
        return
    allowed = 1e-5 if args.engine == "cpu" else 1e-4
    # Every case in f32; one of each family in the other precisions and spread over files.
    runs = [(name, "f32", False) for name in CASES]
    runs += [(name, precision, False) for name in ("gpt2", "llama", "neox") for precision in ("f16", "bf16")]
    runs += [(name, "f32", True) for name in ("gpt2", "llama", "neox")]
    worst, failed, adapter = {}, [], ""
    for name, precision, shards in runs:
        off, equal, adapter = compare(args.attnscope, args.engine, name, precision, shards)
        label = f"{name} ({precision}{', in shards' if shards else ''})"
        good = equal and max(off.values()) <= allowed
        print(f"{'ok' if good else 'FAILED':7}{label:60}" + "  ".join(f"{key} {value:.1e}" for key, value in off.items()))
        worst = {key: max(value, worst.get(key, 0)) for key, value in off.items()}
        failed += [] if good else [label]
    path = Path(args.out)
    stored = json.loads(path.read_text())["rows"] if path.exists() else []
    shown = {key: f"{value:.1e}" for key, value in worst.items()}
    row = [args.engine, adapter, str(len(runs)), str(len(runs) - len(failed)), shown["logits"], shown["pattern"],
           shown["resid_pre"], f"{allowed:.0e}"]
    table = {
        "title": "Numbers that others compute",
        "text": f"Random checkpoints of every supported family and option, made and saved by transformers "
                f"{transformers.__version__} (torch {torch.__version__}), in f32, f16, bf16 and in shards; its numbers are "
                f"computed in f64. Deviations are the largest of all checkpoints, as a share of the largest value of each "
                f"array; greedy continuations of {GREEDY} tokens must be equal. `tests/outside/compare.py` writes this.",
        "columns": ["Engine", "Adapter", "Checkpoints", "Agree", "Logits", "Attention", "Residual stream", "Allowed"],
        "rows": sorted([other for other in stored if other[0] != args.engine] + [row]),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(table, indent=2) + "\n")
    print(f"{len(runs) - len(failed)} of {len(runs)} agree")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
