#!/usr/bin/env bash
# As cpu.post-deploy.sh. Snakemake shows nothing while this runs, and building flash-attn takes long: only on request,
# `FLASH_ATTN=yes snakemake ...`.
set -euo pipefail
FLASH_ATTN=${FLASH_ATTN:-no} bash envs/install-gpu.sh
