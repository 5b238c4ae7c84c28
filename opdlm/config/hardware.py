"""How a training is spread over the devices of a machine. What it comes to does not depend on that."""

from typing import Literal, Self

from pydantic import Field, model_validator

from opdlm.config.base import Strict

NOTICE = 600
"""Seconds that training has to save when it is told to stop; profiles/slurm asks for as many."""


class Memory(Strict):
    """What is done so that a training fits into the memory of its devices."""

    zero: Literal[0, 1, 2, 3] = Field(
        default=0,
        description="what the processes share out, by DeepSpeed: 1 the optimiser's state, 2 also gradients, 3 also "
        "the student's weights; 0: each holds all of it",
    )
    offload: bool = Field(default=False, description="the optimiser's state lies in the host's memory; needs zero")
    host_gradients: bool = Field(
        default=False, description="gradients wait for the update in the host's memory; without zero, which shares them"
    )
    recomputed_layers: int = Field(
        default=0, ge=0, description="of the student: computed again in the backward pass, not kept"
    )

    @model_validator(mode="after")
    def _what_goes_together(self) -> Self:
        if self.offload and not self.zero:
            raise ValueError("'offload' needs 'zero': without it the optimiser stays on the device")
        if self.host_gradients and self.zero:
            raise ValueError(
                "'host_gradients' goes without 'zero', which has gradients in its own keeping: see 'offload'"
            )
        return self


class Hardware(Memory):
    """The processes of a training, one a device, and how they share the memory."""

    processes: int = Field(default=1, gt=0)

    @property
    def launcher(self) -> str:
        """Beginning of a command: what starts the processes.

        torchrun passes on the signals that it is told of, and kills after half a minute by default, in which training
        has not saved yet.
        """
        if self.processes == 1:
            return "python"
        return (
            f"torchrun --standalone --nproc-per-node {self.processes} --shutdown-timeout {NOTICE}"
            " --signals-to-handle SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1"
        )

    def options(self, threads: int) -> str:
        """Options of the training script, whose processes have so many threads together."""
        each = max(1, threads // self.processes)
        numbers = f"--processes {self.processes} --threads {each} --zero {self.zero}"
        flags = f"{' --offload' if self.offload else ''}{' --host-gradients' if self.host_gradients else ''}"
        return f"{numbers} --recomputed-layers {self.recomputed_layers}{flags}"


ALONE = Hardware()
"""One process with all of its memory."""


def fitting(choices: dict[int, Memory], devices: int) -> Hardware:
    """How to use so many devices (none is one CPU).

    Args:
        choices: by number of devices; the largest that is not above `devices` counts, and if there is none, nothing
            is shared or recomputed.
        devices: how many a job has.
    """
    suitable = [count for count in choices if count <= max(1, devices)]
    chosen = choices[max(suitable)] if suitable else Memory()
    return Hardware(processes=max(1, devices), **chosen.model_dump())
