#!/usr/bin/env bash
# Snakemake runs a copy of this in the new conda environment, from the folder that it was started in. It adds what
# cpu.yaml cannot say: the package itself, and the tested versions of what the listed packages need.
set -euo pipefail
python -m pip install --disable-pip-version-check --constraint constraints.txt --editable '.[eval]'
