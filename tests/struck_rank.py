"""Run under `torchrun` by test_rank_kills.py: a script on each rank, one of which sends a signal at a chosen moment.

python -m tests.struck_rank RANK STRIKE SCRIPT ARGUMENT...
"""

import json
import os
import runpy
import sys

from tests.strikes import Strike


def main() -> None:
    rank, strike, *sys.argv = sys.argv[1:]
    if os.environ["RANK"] == rank:
        Strike(**json.loads(strike)).prepare()
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
