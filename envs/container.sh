#!/usr/bin/env bash
# What opdlm.def and Dockerfile do inside the image: Debian's packages, then envs/install-gpu.sh.
set -euo pipefail
cd "$(dirname "$0")/.."

# bubblewrap: sandbox of the scorers. gcc: Triton compiles at run time. git: the report names the commit. graphviz: drawings.
apt-get update
apt-get install -y --no-install-recommends bubblewrap gcc git graphviz libc6-dev
rm -rf /var/lib/apt/lists/*

# torch's wheels bring CUDA but no nvcc, so flash-attn cannot be compiled in this image.
FLASH_ATTN=no PIP_NO_CACHE_DIR=1 bash envs/install-gpu.sh

# IFEval's sentence model: nodes often have no network. Without it the scorer says where to put it.
python -m nltk.downloader -d /usr/local/share/nltk_data punkt_tab </dev/null || echo "not downloaded: punkt_tab" >&2
