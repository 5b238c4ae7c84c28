"""Says in plain words whether this Python can train on GPUs; fails if a package is missing or the wrong one.

A machine without a GPU is no failure: login nodes and container builds have none.
"""

import importlib
import shutil
import sys


def main() -> int:
    wrong = []
    print("== check")
    try:
        torch = importlib.import_module("torch")
    except Exception as error:
        wrong.append(f"torch cannot be imported ({error})")
    else:
        cuda = torch.version.cuda
        if cuda is None:
            wrong.append(
                f"torch {torch.__version__} was built without CUDA: start with a new environment (rm -rf .venv), "
                "and let pip take torch from PyPI"
            )
        elif torch.cuda.is_available():
            print(f"torch {torch.__version__}: sees {torch.cuda.device_count()} x {torch.cuda.get_device_name(0)}")
        else:
            print(
                f"torch {torch.__version__}: CUDA {cuda}, sees no GPU. On a login node that is as it should be. "
                f"On a GPU node the driver is missing or too old for CUDA {cuda}: see what nvidia-smi says"
            )
    for module, use in (
        ("deepspeed", "8B trains with ZeRO"),
        ("snakemake_executor_plugin_slurm", "profiles/slurm submits jobs"),
        ("peft", "trains adapters"),
    ):
        try:
            found = importlib.import_module(module)
            print(f"{module} {getattr(found, '__version__', '')}".rstrip() + ": there")
        except Exception as error:  # DeepSpeed looks for compilers and devices when it is imported
            wrong.append(f"{module} cannot be imported ({error}); with it {use}")
    if not any(map(shutil.which, ("gcc", "cc", "clang"))):
        print("no C compiler: Triton needs one where the GPUs are (gcc; with conda: conda install c-compiler)")
    for what in wrong:
        print(f"MISSING: {what}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
