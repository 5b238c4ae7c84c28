"""How long the engine takes to wake and to sleep, with random weights on a CUDA device.

    python benchmarks/wake.py --shape 4B

Awake it holds the cache, the sequences' state and the CUDA graphs; asleep nothing but the weights. 128 sequences of 640
tokens; prompts of one block, so that next to nothing is prefilled. `wake` is the time from the call to the first
answer: memory, capture, and the first eight steps. `sleep` is the time until all of it is given back.
"""

import argparse
import time
from statistics import median

import torch
from floors import SHAPES
from models import make_requests, random_model, random_prompts, variant
from ways import WAYS

from opdlm.decode.engine import Engine
from opdlm.decode.request import Request

SEQUENCES, PROMPT, LENGTH = 128, 4, 636


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="4B")
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    model = random_model(SHAPES[given.shape], torch.device("cuda"))
    way = WAYS["static"]
    engine = Engine(variant(model, way.block), stop_ids=[], slots=SEQUENCES)
    prompts = random_prompts(model.shape, SEQUENCES, PROMPT)
    requests = [*make_requests(prompts[1:], LENGTH), Request(prompts[0], 1)]
    asleep = torch.cuda.memory_allocated()
    wakes, sleeps, held = [], [], 0
    for _ in range(given.repeats + 1):  # the first compiles
        torch.cuda.synchronize()
        began = time.perf_counter()
        stream = engine.stream(requests, way.settings)
        next(stream)
        torch.cuda.synchronize()
        awake = time.perf_counter()
        held = torch.cuda.memory_allocated() - asleep
        stream.close()
        torch.cuda.synchronize()
        wakes.append(awake - began)
        sleeps.append(time.perf_counter() - awake)
    left = torch.cuda.memory_allocated() - asleep
    print(
        f"{given.shape}, {torch.cuda.get_device_name()}: awake it holds {held / 1e9:.1f} GB, asleep {left / 1e9:.1f} GB"
    )
    print(f"wake {median(wakes[1:]):.3f} s ({', '.join(f'{seconds:.3f}' for seconds in wakes)})")
    print(f"sleep {median(sleeps[1:]):.3f} s ({', '.join(f'{seconds:.3f}' for seconds in sleeps)})")


if __name__ == "__main__":
    main()
