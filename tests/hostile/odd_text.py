"""Answers with lone surrogates, NaN, infinities and broken UTF-8.

Verdict: wrong; as a script: wrong.
"""

import os
import sys

if __name__ == "__main__":
    os.write(1, b"\xff\xfe\x00 4\xcc2 sNaN NaN -Infinity \xed\xa0\x80\n")
    sys.stdout.write("\udcff42\n")


def f(x):
    return ["\ud800", float("nan"), float("inf"), {float("nan"): "\udfff"}]
