"""Merge the verdicts of all shards and seeds of a benchmark into its result."""

import argparse
from pathlib import Path

from opdlm.entry import run
from opdlm.evaluate.merge import merge


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=Path, nargs="+", required=True)
    parser.add_argument("--scores", type=Path, nargs="+", required=True)
    parser.add_argument("--rows", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    merge(given.samples, given.scores, given.rows, given.out)


if __name__ == "__main__":
    run(main)
