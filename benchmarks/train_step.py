"""One optimiser update: the trainer's, beside the same update in the layout of the published code.

    python benchmarks/train_step.py                       # tiny, on the CPU: without times
    python benchmarks/train_step.py --device cuda --shape 1.7B 4B --top-k 0 16 --reference --csv train_step.csv

Random weights at the shape of a Qwen3, student and teacher of one size, one device, bf16 with an fp32 optimiser; random
answers of the lengths given (mean 1,100, spread 200 to 4,000), revealed one token a step, each in a drawn state.

The reference (`published.py`) pads every row to the longest answer, forwards `[prompt | clean | noised]` one row at a
time under a dense mask, runs the teacher over the doubled row too, and takes the logits of all positions of both. It
recomputes every layer in the backward pass, as published. Its optimiser is neither timed nor held on the device: the
published recipe offloads it to the host.

    teacher, forward+backward, optimiser    seconds; their sum is the update, the fastest of `--repeats` after a warm-up
    useful TFLOP/s      arithmetic that the update needs (`useful_flops`) / time; nothing recomputed counts, no padding
    MFU                 of the matrix ceiling measured in the same run, and of the 989 TFLOP/s of an H200's data sheet
    hosted              the packed update with gradients that wait in the host's memory
    peak                of the device's memory, in all; without masters and moments of the optimiser; and beyond
                        weights, gradients and optimiser (activations and logits)
    padding             tokens forwarded / tokens needed
"""

import argparse
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import torch
from ceilings import describe, measure_ceilings
from floors import SHAPES, Ceilings
from measure import release_memory, surviving
from models import mask_token, random_model, random_prompts
from published import PADDED_PROMPT, Published
from table import append, commit
from timing import device_name, timed
from trainers import PROMPT, make_trainer

from opdlm.config.hardware import Hardware
from opdlm.config.training import TrainSettings
from opdlm.decode.request import Rollout
from opdlm.distill import flops
from opdlm.distill.checkpoint import Progress
from opdlm.distill.optimiser import Optimiser
from opdlm.distill.rows import training_row
from opdlm.distill.states import realised_state
from opdlm.model.shape import DEFAULT_BLOCK_SIZE, Shape

BLOCK = DEFAULT_BLOCK_SIZE
LENGTHS = [200, 300, 448, 600, 800, 1052, 1400, 4000]
"""Mean 1,100."""
LAYOUTS = ["packed", "hosted"]
"""Of ours."""
DATA_SHEET = 989e12
"""Dense bf16 FLOP/s of an H200."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the CSV; what is not measured is empty."""

    date: str
    commit: str
    device: str
    shape: str
    layout: str
    top_k: int
    answers: int
    answer_tokens: int
    budget: int
    recomputed_layers: int
    teacher_seconds: float | None
    forward_backward_seconds: float | None
    optimiser_seconds: float | None
    update_seconds: float | None
    useful_tflop: float
    useful_tflops: float | None
    mfu_measured: float | None
    mfu_data_sheet: float | None
    peak_gb: float | None
    peak_without_optimiser_gb: float | None
    peak_activations_gb: float | None
    padding: float
    ceiling_tflops: float | None
    ratio_to_reference: float | None


@dataclass(frozen=True, slots=True)
class Measured:
    """Seconds of the phases, bytes at the peak: in all, of the optimiser, and of weights, gradients and optimiser."""

    teacher: float
    forward_backward: float
    optimiser: float
    peak: int
    held_by_optimiser: int
    held: int

    @property
    def seconds(self) -> float:
        """Of the update."""
        return self.teacher + self.forward_backward + self.optimiser


def main(arguments: list[str] | None = None) -> list[Row]:
    given = parse(arguments)
    device = torch.device(given.device)
    ceilings = measure_ceilings() if device.type == "cuda" else None
    code = given.commit or commit()
    print(f"{device_name(device)}, torch {torch.__version__}, commit {code}")
    print(describe(ceilings) if ceilings else "no times: not a CUDA device", flush=True)
    rows = []
    for shape, top_k in product(given.shape, given.top_k):
        answers = make_answers(SHAPES[shape], given.lengths)
        reference = None
        if given.reference:
            reference = surviving(partial(measure_published, shape, top_k, answers, device), f"{shape} published")
            if reference is not None:
                rows.append(make_row(given, shape, top_k, 0, "published", reference, None, ceilings, device))
                report(rows[-1], given.csv)
        for layout, layers in product(given.layout, given.recomputed_layers):
            hardware = Hardware(recomputed_layers=layers, host_gradients=layout == "hosted")
            run = partial(measure_ours, shape, top_k, answers, hardware, given, device)
            ours = surviving(run, f"{shape} {layout}, {layers} layers recomputed")
            if ours is not None:
                rows.append(make_row(given, shape, top_k, layers, layout, ours, reference, ceilings, device))
                report(rows[-1], given.csv)
    return rows


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--shape", nargs="+", choices=SHAPES, default=["tiny"])
    parser.add_argument(
        "--lengths", nargs="+", type=int, help=f"of the answers; default {LENGTHS}, on a CPU short ones"
    )
    parser.add_argument("--top-k", nargs="+", type=int, default=[0], help="of the teacher; 0 = full vocabulary")
    parser.add_argument("--budget", type=int, default=TrainSettings().micro_batch_tokens, help="tokens of a pack")
    parser.add_argument("--recomputed-layers", nargs="+", type=int, default=[0])
    parser.add_argument("--layout", nargs="+", choices=LAYOUTS, default=["packed"], help="of ours; see above")
    parser.add_argument("--reference", action="store_true", help="also the published layout")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--csv", type=Path, help="append the rows to this file")
    parser.add_argument("--commit", help="what the rows say about the code; default what git says")
    given = parser.parse_args(arguments)
    given.lengths = given.lengths or ([8, 12, 20] if torch.device(given.device).type == "cpu" else LENGTHS)
    if any(length % BLOCK for length in given.lengths):
        parser.error(f"--lengths: whole blocks, so multiples of {BLOCK}")
    return given


# Ours


def measure_ours(
    shape: str, top_k: int, answers: list[Rollout], hardware: Hardware, given: argparse.Namespace, device: torch.device
) -> Measured:
    """The trainer's own update."""
    settings = {"batch_size": len(answers), "micro_batch_tokens": given.budget, "divergence": {"top_k": top_k}}
    trainer = make_trainer(SHAPES[shape], settings, hardware, device)
    assert isinstance(trainer.learner, Optimiser)
    weights = sum(weight.nbytes for model in (trainer.teacher, trainer.student) for weight in model.parameters())
    masters = sum(master.nbytes for master in trainer.learner.masters)
    own_masters = masters if trainer.student.lm_head.weight.dtype != torch.float32 else 0

    def update() -> Measured:
        reset_peak(device)
        trainer.meter.take(Progress())
        reading = trainer.read_by_teacher(answers)
        trainer.update(answers, reading, list(range(len(answers))), 0, np.random.default_rng(0))
        spent = trainer.meter.take(Progress()).seconds
        return Measured(
            teacher=spent["reading"],
            forward_backward=spent["gradients"] + spent["other"],
            optimiser=spent["step"],
            peak=peak(device),
            held_by_optimiser=2 * masters + own_masters,
            held=weights + (2 if hardware.host_gradients else 3) * masters + own_masters,
        )

    update()  # compiles, and makes the optimiser's state
    return min((update() for _ in range(given.repeats)), key=lambda measured: measured.seconds)


# The published layout


def measure_published(shape: str, top_k: int, answers: list[Rollout], device: torch.device) -> Measured:
    """The reference arm: one warm-up row, then one update; the teacher's time is in forward+backward."""
    teacher = random_model(SHAPES[shape], device)
    student = random_model(SHAPES[shape], device).requires_grad_(True)
    published = Published(student, teacher, mask_token(SHAPES[shape]), BLOCK, top_k)
    longest = max(len(answer.ids) for answer in answers)
    generator = np.random.default_rng(0)
    published.row(answers[0], longest, generator)
    reset_peak(device)
    seconds, _ = timed(lambda: [published.row(answer, longest, generator) for answer in answers])
    weights = sum(weight.nbytes for model in (teacher, student) for weight in model.parameters())
    gradients = sum(weight.nbytes for weight in student.parameters())
    return Measured(0.0, seconds, 0.0, peak(device), 0, weights + gradients)


# What both have in common


def make_answers(shape: Shape, lengths: list[int]) -> list[Rollout]:
    """Random answers, one token of a block revealed in each step."""
    rng = np.random.default_rng(0)
    prompts = random_prompts(shape, len(lengths), PROMPT)
    answers = []
    for prompt, length in zip(prompts, lengths, strict=True):
        order = np.concatenate([start + 1 + rng.permutation(BLOCK) for start in range(0, length, BLOCK)])
        ids = rng.integers(0, mask_token(shape), length)
        answers.append(Rollout(prompt, ids.tolist(), order.tolist(), [], [], "length"))
    return answers


def useful_flops(shape: Shape, answers: list[Rollout]) -> float:
    """Arithmetic of an update, in FLOP: the student forwards its rows, backward costs twice that, the teacher reads.

    Both take logits at the loss positions only. Attention counts the pairs that see each other.
    """
    rng = np.random.default_rng(0)
    rows = [training_row(answer, BLOCK, mask_token(shape), realised_state, "exclude", rng) for answer in answers]
    student = flops.in_rows(rows, BLOCK)
    teacher = flops.forward(shape, flops.reading(answers)) + flops.head(shape, student.logits)
    return 3 * flops.forward(shape, student) + teacher


def make_row(
    given: argparse.Namespace,
    shape: str,
    top_k: int,
    layers: int,
    layout: str,
    measured: Measured,
    reference: Measured | None,
    ceilings: Ceilings | None,
    device: torch.device,
) -> Row:
    """A measurement with all that follows from it; only a CUDA device gets times."""
    answers = make_answers(SHAPES[shape], given.lengths)
    flops = useful_flops(SHAPES[shape], answers)
    needed = sum(PROMPT + 2 * length - BLOCK for length in given.lengths)
    padded = len(answers) * (PADDED_PROMPT + 2 * max(given.lengths))

    def absolute(value: float) -> float | None:
        return value if ceilings else None

    return Row(
        date=datetime.now(UTC).date().isoformat(),
        commit=given.commit or commit(),
        device=device_name(device),
        shape=shape,
        layout=layout,
        top_k=top_k,
        answers=len(answers),
        answer_tokens=sum(given.lengths),
        budget=given.budget,
        recomputed_layers=SHAPES[shape].num_hidden_layers if layout == "published" else layers,
        teacher_seconds=absolute(measured.teacher),
        forward_backward_seconds=absolute(measured.forward_backward),
        optimiser_seconds=absolute(measured.optimiser),
        update_seconds=absolute(measured.seconds),
        useful_tflop=flops / 1e12,
        useful_tflops=absolute(flops / measured.seconds / 1e12),
        mfu_measured=flops / measured.seconds / ceilings.flops if ceilings else None,
        mfu_data_sheet=absolute(flops / measured.seconds / DATA_SHEET),
        peak_gb=absolute(measured.peak / 1e9),
        peak_without_optimiser_gb=absolute((measured.peak - measured.held_by_optimiser) / 1e9),
        peak_activations_gb=absolute((measured.peak - measured.held) / 1e9),
        padding=padded / needed if layout == "published" else 1.0,
        ceiling_tflops=ceilings.flops / 1e12 if ceilings else None,
        ratio_to_reference=reference.seconds / measured.seconds if reference and ceilings else None,
    )


def report(row: Row, csv: Path | None) -> None:
    """Print a row, and append it to the CSV."""
    text = f"{row.shape:5}{row.layout:10} top-k {row.top_k:3} recomputed {row.recomputed_layers:2}"
    if row.update_seconds is not None:
        text += (
            f"  {row.update_seconds:7.3f} s = teacher {row.teacher_seconds:.3f} + forward and backward "
            f"{row.forward_backward_seconds:.3f} + optimiser {row.optimiser_seconds:.3f}"
            f"  {row.useful_tflops:5.0f} useful TFLOP/s, MFU {row.mfu_measured:.1%} ({row.mfu_data_sheet:.1%})"
            f"  peak {row.peak_gb:.1f} GB, {row.peak_without_optimiser_gb:.1f}, {row.peak_activations_gb:.1f}"
        )
    text += f"  padding {row.padding:.2f}"
    print(text + (f"  {row.ratio_to_reference:.2f} x published" if row.ratio_to_reference else ""), flush=True)
    if csv is not None:
        append(csv, row)


def reset_peak(device: torch.device) -> None:
    """Forget the highest use of memory so far."""
    if device.type == "cuda":
        release_memory()
        torch.cuda.reset_peak_memory_stats(device)


def peak(device: torch.device) -> int:
    """Highest use of memory since, in bytes."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0


if __name__ == "__main__":
    main()
