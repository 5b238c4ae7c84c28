"""Signals sent at a chosen moment: when a process calls a function for the n-th time."""

import itertools
import os
import pkgutil
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass

TRAINER = "opdlm.distill.trainer:Trainer"


@dataclass(frozen=True)
class Strike:
    """A signal that a process sends at one call of a function.

    Attributes:
        number: the signal.
        owner, name: the function: where it is, as `pkgutil.resolve_name` finds it, and what it is called there.
        call: at which call, counted from 1.
        at_launcher: to the process that started this one and not to itself.
    """

    number: int
    owner: str
    name: str
    call: int
    at_launcher: bool = False

    def prepare(self, replace: Callable[[object, str, object], None] = setattr) -> None:
        """Lay the strike around the function."""
        owner = pkgutil.resolve_name(self.owner)
        original, calls = getattr(owner, self.name), itertools.count(1)

        def struck(*args: object, **kwargs: object) -> object:
            if next(calls) == self.call:
                self.send()
            return original(*args, **kwargs)

        replace(owner, self.name, struck)

    def send(self) -> None:
        """Send the signal; one that the launcher passes on is waited for, so that what follows is the same each time.

        A launcher that is killed passes nothing on: the wait ends with this process.
        """
        if not self.at_launcher:
            os.kill(os.getpid(), self.number)
            return
        came, before = threading.Event(), signal.getsignal(signal.SIGTERM)

        def heard(*given: object) -> None:
            signal.signal(signal.SIGTERM, before)
            signal.raise_signal(signal.SIGTERM)
            came.set()

        signal.signal(signal.SIGTERM, heard)
        os.kill(os.getppid(), self.number)
        came.wait(timeout=60)
