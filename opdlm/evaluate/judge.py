"""Judges training's answers, in a process of its own: a JSON line of `[row, text]` in, a line of verdicts out.

Training starts it by name and does not import it, so that it is no part of a model's identity: the verdicts are only
reported, and a better scorer must not train a model again. It ends when its input does.
"""

import json
import re
import signal
import sys

from opdlm.data.rows import Row
from opdlm.errors import DataError
from opdlm.evaluate.scorers import choice, math


def correct(comparer: math.Comparer, row: Row, text: str) -> bool | None:
    """Whether an answer is right, as the benchmarks' scorers see it; none where that cannot be told.

    That is so for questions without a reference, or one that math-verify cannot read, and for chat. Programs are not
    judged either: sandboxes would take the processors away from training.
    """
    gold = row.ground_truth_answer.strip()
    if gold and row.domain in ("math", None):
        return _same(comparer, gold, text)
    if row.domain == "science" and re.fullmatch(r"\(?[A-Ja-j]\)?", gold):
        return choice.extract(text, row.options) == gold.strip("()").upper()
    return None


def _same(comparer: math.Comparer, gold: str, text: str) -> bool | None:
    answer = math.final_answer(text)
    if answer is None or len(answer) > math.LONGEST:
        return False
    try:
        return bool(comparer.same(math.normalised(gold), math.normalised(answer)))
    except DataError:
        return None


def main() -> None:
    """Serve until standard input ends. Signals are for training, which still needs verdicts when it gets one."""
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    with math.Comparer() as comparer:
        for line in sys.stdin:
            verdicts = [correct(comparer, Row.model_validate(row), text) for row, text in json.loads(line)]
            print(json.dumps(verdicts), flush=True)


if __name__ == "__main__":
    main()
