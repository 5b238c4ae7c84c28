"""Decoding speed of the engine beside transformers' `generate`, on one machine in one run, as ratios.

    python benchmarks/rollout.py --sequences 64 --new-tokens 40
    python benchmarks/rollout.py --shape 0.6B --device cuda --sequences 128 --new-tokens 128 --repeats 2

Random weights at the shape of the tiny family or of a Qwen3, prompts of different lengths, end tokens ignored. Both
sides write the same number of tokens; `generate` gets left-padded prompts, as a plain user would pass them. Absolute
tokens/s are printed on a CUDA device only: other machines are too noisy for them.
"""

import argparse
import time
from collections.abc import Callable
from statistics import median

import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from opdlm.config.decoding import DecodingSettings
from opdlm.config.models import TinyArchitecture
from opdlm.decode.engine import Engine
from opdlm.decode.request import Request
from opdlm.model.qwen3 import Qwen3
from opdlm.model.shape import Shape

COMMON = {"num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151936, "max_position_embeddings": 40960}
SHAPES = {
    "tiny": TinyArchitecture().model_dump() | {"tie_word_embeddings": True},
    "0.6B": COMMON
    | {"hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28, "num_attention_heads": 16}
    | {"tie_word_embeddings": True},
    "1.7B": COMMON
    | {"hidden_size": 2048, "intermediate_size": 6144, "num_hidden_layers": 28, "num_attention_heads": 16}
    | {"tie_word_embeddings": True},
    "4B": COMMON
    | {"hidden_size": 2560, "intermediate_size": 9728, "num_hidden_layers": 36, "num_attention_heads": 32}
    | {"tie_word_embeddings": True},
    "8B": COMMON
    | {"hidden_size": 4096, "intermediate_size": 12288, "num_hidden_layers": 36, "num_attention_heads": 32}
    | {"tie_word_embeddings": False},
}
STRATEGIES = {
    "autoregressive": DecodingSettings(strategy="autoregressive", temperature=1.0),
    "static, 1 a step": DecodingSettings(strategy="static", temperature=1.0),
    "static, 2 a step": DecodingSettings(strategy="static", tokens_per_step=2, temperature=1.0),
    "whole blocks": DecodingSettings(strategy="dynamic", threshold=0.0, temperature=1.0),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="tiny")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--sequences", type=int, default=64)
    parser.add_argument("--new-tokens", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(20, 50, (given.sequences,), generator=generator).tolist()
    prompts = [torch.randint(300, (length,), generator=generator).tolist() for length in lengths]

    with torch.device(given.device):
        model = Qwen3(Shape(**SHAPES[given.shape]))
    model.initialise(torch.Generator(given.device).manual_seed(0))
    model.to(torch.float32 if given.device == "cpu" else torch.bfloat16)
    runs: dict[str, Callable[[], int]] = {"transformers generate": transformers_run(model, prompts, given.new_tokens)}
    for name, how in STRATEGIES.items():
        runs[name] = engine_run(model, prompts, given.new_tokens, how)
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(given.repeats + 1):  # the first round warms up; rounds interleave against drift
        for name, run in runs.items():
            began = time.perf_counter()
            tokens = run()
            if given.device != "cpu":
                torch.cuda.synchronize()
            seconds[name].append(time.perf_counter() - began)
            assert tokens == given.sequences * given.new_tokens
    base = median(seconds["transformers generate"][1:])
    print(f"{given.shape}, {given.device}: {given.sequences} sequences, {given.new_tokens} new tokens")
    for name, times in seconds.items():
        speed = given.sequences * given.new_tokens / median(times[1:])
        absolute = f"{speed:8.0f} tokens/s" if given.device != "cpu" else ""
        print(f"{name:24} {base / median(times[1:]):6.2f} x transformers' tokens/s {absolute}")


def engine_run(model: Qwen3, prompts: list[list[int]], new_tokens: int, how: DecodingSettings) -> Callable[[], int]:
    """Decode all prompts with the engine; returns the number of tokens written."""
    changes = {} if how.strategy == "autoregressive" else {"block_size": 4, "mask_token_id": model.shape.vocab_size - 1}
    with torch.device("meta"):
        network = Qwen3(model.shape.model_copy(update=changes))
    network.load_state_dict(model.state_dict(), assign=True)
    engine = Engine(network, stop_ids=[], slots=len(prompts))
    requests = [Request(prompt, new_tokens, seed) for seed, prompt in enumerate(prompts)]
    return lambda: sum(len(rollout.ids) for rollout in engine.generate(requests, how))


def transformers_run(model: Qwen3, prompts: list[list[int]], new_tokens: int) -> Callable[[], int]:
    """Decode all prompts with transformers' `generate`, sampling at temperature 1."""
    config = Qwen3Config(**model.shape.model_dump(exclude={"model_type", "rope_theta", "block_size", "mask_token_id"}))
    reference = Qwen3ForCausalLM(config).to(model.device, model.lm_head.weight.dtype).eval()
    reference.load_state_dict(model.state_dict())
    longest = max(map(len, prompts))
    rows = [[0] * (longest - len(prompt)) + prompt for prompt in prompts]
    ids = torch.tensor(rows, device=model.device)
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts], device=model.device)

    options = {"do_sample": True, "top_k": 0, "max_new_tokens": new_tokens, "eos_token_id": None, "pad_token_id": 0}

    def run() -> int:
        out = reference.generate(ids, attention_mask=mask, **options)
        return (out.shape[1] - longest) * len(prompts)

    return run


if __name__ == "__main__":
    main()
