"""`import opdlm` is enough for transformers to load our folders, and costs neither transformers nor torch."""

import subprocess
import sys
from pathlib import Path

import pytest

from opdlm.config.models import ConvertSettings
from opdlm.model.convert import convert
from tests.folders import write_teacher

LOAD = "print(type(AutoModelForCausalLM.from_pretrained(sys.argv[1])).__name__)"


@pytest.mark.parametrize(
    "imports",
    [
        "import opdlm\nfrom transformers import AutoModelForCausalLM",
        "from transformers import AutoModelForCausalLM\nimport opdlm",
        "import opdlm\nfrom transformers import Qwen3ForCausalLM, AutoModelForCausalLM",
        "import opdlm\nfrom transformers import LlamaForCausalLM, AutoModelForCausalLM",
    ],
    ids=["opdlm first", "transformers first", "Qwen3 before the auto classes", "Llama before the auto classes"],
)
def test_plain_transformers_loads_a_converted_folder(tmp_path: Path, imports: str) -> None:
    convert(write_teacher(tmp_path / "teacher"), tmp_path / "student", ConvertSettings())
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{imports}\n{LOAD}", tmp_path / "student"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "A2DQwen3ForCausalLM"


def test_importing_the_package_imports_neither_transformers_nor_torch() -> None:
    check = "import sys, opdlm\nassert not {'torch', 'transformers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True)
