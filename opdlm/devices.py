"""Run a command with GPUs of its own, on a machine whose GPUs several jobs share, that ends with whoever started it.

`python -m opdlm.devices COUNT COMMAND...`

Snakemake counts the GPUs of the jobs that it runs side by side (`resources: gpu`), but does not say which a job has.
Here it takes COUNT of those that CUDA_VISIBLE_DEVICES names (of all, without it), each by the lock on a file that the
command inherits and that ends with it, however it ends. With COUNT 0 the command sees none. Where exactly COUNT are
there, as in a job of SLURM, which has chosen already, nothing is locked: another job's may have the same numbers. (On a
machine of its own a training that takes all GPUs locks none, then; Snakemake starts no other job beside it.) Where
there are none at all, the command runs without.

A Snakemake that is killed outright can end nothing: its jobs would work on beside those of the next start.
"""

import fcntl
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from opdlm.processes import end_with_parent

VARIABLE = "CUDA_VISIBLE_DEVICES"


def visible() -> list[str]:
    """The GPUs of this machine, or those of them that this process may use."""
    if VARIABLE in os.environ:
        return [name for name in os.environ[VARIABLE].split(",") if name.strip()]
    try:
        listed = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True)
    except FileNotFoundError:
        return []
    return [str(number) for number, _ in enumerate(line for line in listed.stdout.splitlines() if line[:4] == "GPU ")]


def taken(count: int, names: list[str], slots: Path) -> list[str]:
    """Take some of the GPUs for this process and what it becomes. Waits while others have them.

    Args:
        count: how many.
        names: of all.
        slots: folder of a lock file for each GPU. All jobs that share the machine must name the same.
    """
    slots.mkdir(mode=0o700, exist_ok=True)
    if slots.stat().st_uid != os.getuid():
        sys.exit(f"error: {slots} belongs to somebody else: remove it, or set TMPDIR to a folder of your own")
    waits = False
    while len(locked := _lock(names, count, slots)) < count:
        for slot in locked.values():
            os.close(slot)
        if not waits:
            print(f"waiting for {count} of the GPUs {', '.join(names)}: other jobs have them", file=sys.stderr)
        waits = True
        time.sleep(1)
    for slot in locked.values():
        os.set_inheritable(slot, True)
    return list(locked)


def _lock(names: list[str], count: int, slots: Path) -> dict[str, int]:
    """Up to `count` free GPUs, each with the open file whose lock holds it."""
    locked: dict[str, int] = {}
    for name in names:
        if len(locked) == count:
            break
        slot = os.open(slots / name.replace("/", "-"), os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(slot, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(slot)
            continue
        locked[name] = slot
    return locked


def main() -> None:
    end_with_parent()  # before a wait that may take hours
    count, *command = sys.argv[1:]
    wanted, names = int(count), visible()
    if 0 < len(names) < wanted:
        sys.exit(f"error: {wanted} GPUs were asked for, and there are {len(names)}: {', '.join(names)}")
    if wanted < len(names):
        slots = Path(tempfile.gettempdir()) / f"opdlm-gpus-{os.getuid()}"
        os.environ[VARIABLE] = ",".join(taken(wanted, names, slots))
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
