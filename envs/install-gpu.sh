#!/usr/bin/env bash
# Installs OPDLM for GPU nodes into the Python that is first on PATH, in the order that works: torch, the rest,
# flash-attn last. FLASH_ATTN=no leaves that out.
set -euo pipefail
cd "$(dirname "$0")/.."

install() {
    python -m pip install --disable-pip-version-check --constraint constraints.txt "$@"
}

# Its setup imports torch, hence last and without isolation. Only benchmarks/attention.py uses it, beside our own
# kernels, so a machine without it misses nothing else, and nothing here fails for it.
install_flash_attn() {
    if [ "${FLASH_ATTN:-yes}" = no ]; then
        echo "== flash-attn: left out (FLASH_ATTN=no)"
    elif ! command -v nvcc >/dev/null && ! [ -x "${CUDA_HOME:-/usr/local/cuda}/bin/nvcc" ]; then
        echo "== flash-attn: left out, since it is compiled here and there is no nvcc (CUDA toolkit 13.0; CUDA_HOME)"
    elif echo "== flash-attn: compiling, which can take hours (FLASH_ATTN=no leaves it out, MAX_JOBS bounds memory)" &&
        install ninja packaging psutil setuptools wheel &&
        install --no-build-isolation flash-attn==2.8.3.post2; then
        echo "== flash-attn: installed"
    else
        echo "== flash-attn: NOT installed; the reason is above"
    fi
    echo "   (optional: only benchmarks/attention.py times it; training and evaluation never use it)"
}

echo "== torch"
install torch
echo "== the rest: OPDLM, DeepSpeed, the SLURM executor, the scorers, PEFT"
DS_BUILD_OPS=0 install --editable '.[gpu,eval,lora]' # DeepSpeed compiles nothing: what we use of it is Python
install_flash_attn
python envs/check_gpu.py
