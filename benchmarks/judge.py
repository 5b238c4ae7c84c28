"""How many small programs a second the judge of programs gets through.

    python benchmarks/judge.py --programs 200

`bare` is a sandbox in which nothing is done, one at a time: the floor of everything else. `function` is a program with
one Python test, which takes two sandboxes; `calls` the same with one LiveCodeBench test, whose grader's imports come
first; `stdio` is a program with one input. These run on as many threads as there are processors, as in scoring.
"""

import argparse
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from opdlm.evaluate.launcher import START_SECONDS, Launcher
from opdlm.evaluate.sandbox import run_calls, run_tests
from opdlm.evaluate.scorers.stdio import run_cases

FUNCTION = "def f(x):\n    return 2 * x"
SCRIPT = "print(2 * int(input()))"
SECONDS = 10.0


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Print and return programs a second."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", type=int, default=200)
    given = parser.parse_args(arguments)
    processors = len(os.sched_getaffinity(0))
    print(f"{processors} processors, {given.programs} programs each")
    rates = {}
    with Launcher() as launcher:
        ways: dict[str, tuple[int, Callable[[], bool]]] = {
            "bare": (1, lambda: bare(launcher)),
            "function": (
                processors,
                lambda: run_tests(launcher, FUNCTION, ["assert f(3) == 6"], "f", SECONDS).reason == "correct",
            ),
            "calls": (
                processors,
                lambda: run_calls(launcher, FUNCTION, [("3", "6")], "f", SECONDS).reason == "correct",
            ),
            "stdio": (
                processors,
                lambda: run_cases(launcher, SCRIPT, [("3\n", "6\n")], SECONDS).reason == "correct",
            ),
        }
        for name, (threads, judge) in ways.items():
            rates[name] = rate(judge, given.programs, threads)
            print(f"{name:10} {rates[name]:6.1f} a second, {1000 / rates[name]:5.1f} ms", flush=True)
    return rates


def bare(launcher: Launcher) -> bool:
    with launcher.cell({"role": "nothing"}, [], SECONDS) as cell:
        return cell.ended(START_SECONDS) == 0


def rate(judge: Callable[[], bool], programs: int, threads: int) -> float:
    """Judgements a second; each must be right."""
    judge()
    began = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        if not all(pool.map(lambda _: judge(), range(programs))):
            raise RuntimeError("a right program was judged wrong")
    return programs / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
