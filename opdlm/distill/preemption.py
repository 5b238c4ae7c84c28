"""Stopping on request: a cluster sends SIGTERM or SIGUSR1 some minutes before it takes the machine away."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
EXIT_STATUS = 75
"""Status of a training that was stopped and saved: `EX_TEMPFAIL` of sysexits.h, "try the same again later"."""


class StoppedError(Exception):
    """Training was asked to stop and did; its last checkpoint holds every update."""


@dataclass(slots=True)
class StopRequest:
    """What training looks at wherever it can stop.

    Attributes:
        signal: name of the signal that asked it to stop; none as long as nobody has.
    """

    signal: str | None = None


@contextmanager
def stop_request() -> Iterator[StopRequest]:
    """Listen for the signals while the block runs; whoever handled them before does so again afterwards.

    The handler only takes note, so a signal never interrupts an update or the writing of a checkpoint. Python gives
    signals to the main thread alone: in another one nobody ever asks.

    A launcher that is killed outright can pass nothing on: its processes are killed with it.
    """
    request = StopRequest()

    def note(number: int, _: object) -> None:
        request.signal = signal.Signals(number).name

    mine = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, note) for number in SIGNALS} if mine else {}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)  # none: it was not set from Python
