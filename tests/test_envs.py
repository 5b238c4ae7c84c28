"""envs/: lists of packages agree with pyproject.toml and constraints.txt; set-up scripts, container definitions."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from opdlm.identity import reached_files

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = {"cpu": ["eval"], "gpu": ["eval", "gpu", "lora"]}
ONLY_TRAINING = {"deepspeed", "peft"}
SECTION = re.compile(r"^%(\w+)\n(.*?)(?=^%|^#|\Z)", re.MULTILINE | re.DOTALL)
DEFINITION = (ROOT / "envs/opdlm.def").read_text()
DOCKERFILE = (ROOT / "envs/Dockerfile").read_text()


def by_name(lines: Iterable[str]) -> dict[str, Requirement]:
    return {canonicalize_name(each.name): each for each in map(Requirement, lines)}


def pinned() -> dict[str, str]:
    constraints = by_name((ROOT / "constraints.txt").read_text().split())
    return {name: str(each.specifier).removeprefix("==") for name, each in constraints.items()}


def declared(*extras: str) -> dict[str, Requirement]:
    optional = PROJECT["optional-dependencies"]
    return by_name(PROJECT["dependencies"] + [line for extra in extras for line in optional[extra]])


def conda(env: str) -> list:
    return yaml.safe_load((ROOT / f"envs/{env}.yaml").read_text())["dependencies"]


def listed(env: str) -> dict[str, Requirement]:
    return by_name(conda(env)[-1]["pip"])


@pytest.mark.parametrize("env", EXTRAS)
def test_a_list_names_what_pyproject_does_in_the_versions_of_the_constraints(env: str) -> None:
    wanted, found, versions = declared(*EXTRAS[env]), listed(env), pinned()
    wrong = [f"{name} is missing" for name in wanted.keys() - found.keys()]
    wrong += [f"{name} is not in pyproject.toml" for name in found.keys() - wanted.keys()]
    for name in wanted.keys() & found.keys():
        if str(found[name].specifier) != f"=={versions[name]}":
            wrong.append(f"{name} {found[name].specifier}, but constraints.txt has {versions[name]}")
        if found[name].extras != wanted[name].extras:
            wrong.append(f"{name} has extras {found[name].extras}, but in pyproject.toml {wanted[name].extras}")
    assert not wrong, f"envs/{env}.yaml: " + "; ".join(sorted(wrong))


def test_constraints_are_within_the_bounds_of_pyproject() -> None:
    versions = pinned()
    wrong = [
        f"{each}, but constraints.txt has {versions.get(name)}"
        for name, each in declared("dev", "eval", "gpu", "lora").items()
        if name != "triton"  # torch's builds for CUDA want one version each
        if name not in versions or not each.specifier.contains(versions[name])
    ]
    assert not wrong, "pyproject.toml: " + "; ".join(wrong)


def imports(files: Iterable[Path]) -> set[str]:
    """Packages that are no part of Python and not ours, as import statements name them."""
    nodes = [node for file in files for node in ast.walk(ast.parse(file.read_text()))]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level}
    return {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"opdlm"}


def installed_by(requirements: Iterable[Requirement]) -> set[str]:
    """The distributions that these bring, directly or not."""
    waiting, names = list(requirements), set()
    while waiting:
        required = waiting.pop()
        name = canonicalize_name(required.name)
        if name in names and not required.extras:
            continue
        names.add(name)
        for each in map(Requirement, metadata.requires(required.name) or []):
            if each.marker is None or any(each.marker.evaluate({"extra": extra}) for extra in ["", *required.extras]):
                waiting.append(each)
    return names


@pytest.mark.parametrize("env", EXTRAS)
def test_a_list_brings_all_that_the_package_and_its_scripts_import(env: str) -> None:
    there = installed_by(listed(env).values())
    distributions = metadata.packages_distributions()
    wanted = imports([*ROOT.glob("opdlm/**/*.py"), *ROOT.glob("workflow_scripts/*.py")])
    wanted -= {"triton"}  # comes with torch's build for CUDA; code for the CPU does without
    if env == "cpu":
        wanted -= ONLY_TRAINING
    assert "nltk" in wanted
    missing = {name for name in wanted if not there & set(map(canonicalize_name, distributions.get(name, [])))}
    assert not missing, f"envs/{env}.yaml brings no {', '.join(sorted(missing))}"


def test_only_training_imports_what_the_cpu_list_leaves_out() -> None:
    scripts = ROOT.glob("workflow_scripts/*.py")
    assert {script.stem for script in scripts if imports(reached_files(script)) & ONLY_TRAINING} == {"train"}


def test_conda_lists_and_images_have_the_same_python() -> None:
    pythons = {str(conda(env)[0]).replace("python =", "") for env in EXTRAS}
    pythons |= set(re.findall(r"^(?:From:|FROM) python:([\d.]+)-", DEFINITION + DOCKERFILE, re.MULTILINE))
    assert pythons == {"3.11"}
    assert PROJECT["requires-python"] == ">=3.11"


def sections() -> dict[str, str]:
    return dict(SECTION.findall(DEFINITION))


def copied() -> dict[str, str]:
    return dict(line.split() for line in sections()["files"].splitlines() if line.strip())


def test_both_images_hold_the_same() -> None:
    assert re.search("^From: (.*)$", DEFINITION, re.MULTILINE)[1] == re.search("^FROM (.*)$", DOCKERFILE, re.M)[1]
    copies = [line.split()[1:] for line in DOCKERFILE.splitlines() if line.startswith("COPY ")]
    assert {each for *files, _ in copies for each in files} == set(copied())
    assert all(target == f"/opt/opdlm/{source}" for source, target in copied().items())
    assert "PYTHONPATH=." in sections()["environment"]
    assert "ENV PYTHONPATH=." in DOCKERFILE
    assert "==" not in DEFINITION + DOCKERFILE, "versions are those of constraints.txt"


def test_the_files_of_an_image_are_enough_to_plan_the_demo(tmp_path: Path) -> None:
    for name in copied():
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, tmp_path)
    for name in (PROJECT["readme"], *PROJECT["license-files"], "constraints.txt", "envs/container.sh"):
        assert (tmp_path / name).is_file(), f"{name} is not copied, and the installation reads it"
    command = [sys.executable, "-m", "snakemake", "-n", "--profile", "profiles/local", "all"]
    environment = os.environ | {"PYTHONPATH": "."}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "rule train" in done.stdout + done.stderr


def shell_texts() -> dict[str, str]:
    texts = {file.name: file.read_text() for file in ROOT.glob("envs/*.sh")}
    texts |= {f"%{name}": text for name, text in sections().items() if name != "files"}
    return texts | {"RUN": "\n".join(re.findall("^RUN (.*)$", DOCKERFILE, re.MULTILINE))}


@pytest.mark.parametrize("name", shell_texts())
def test_shell_syntax(name: str) -> None:
    done = subprocess.run(["bash", "-n"], input=shell_texts()[name], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


class Setup:
    """envs/install-gpu.sh with a python that only writes down its arguments, and fails if they hold a given word."""

    def __init__(self, folder: Path) -> None:
        self.programs, self.calls = folder / "bin", folder / "calls"
        self.programs.mkdir()
        self.program("python", f'echo "$*" >> {self.calls}; [ -z "$FAILS" ] || ! [[ "$*" == *"$FAILS"* ]]')

    def program(self, name: str, text: str) -> None:
        (self.programs / name).write_text(f"#!/usr/bin/env bash\n{text}\n")
        (self.programs / name).chmod(0o755)

    def run(self, fails: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        environment |= {"PATH": f"{self.programs}:/usr/bin:/bin", "CUDA_HOME": "/nowhere", "FAILS": fails}
        command = ["bash", str(ROOT / "envs/install-gpu.sh")]
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    def installed(self) -> list[str]:
        """The last argument of each call of pip, without the version."""
        calls = [line.split() for line in self.calls.read_text().splitlines()]
        assert all("constraints.txt" in call for call in calls if "pip" in call)
        return [call[-1].partition("==")[0] for call in calls if "pip" in call]


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    return Setup(tmp_path)


def test_setup_installs_torch_the_rest_and_flash_attn_last(setup: Setup) -> None:
    setup.program("nvcc", "")
    assert setup.run().returncode == 0
    assert setup.installed() == ["torch", ".[gpu,eval,lora]", "wheel", "flash-attn"]
    *_, flash_attn, check = setup.calls.read_text().splitlines()
    assert "--no-build-isolation" in flash_attn
    assert check == "envs/check_gpu.py"


def test_setup_goes_on_without_flash_attn_and_says_so(setup: Setup) -> None:
    setup.program("nvcc", "")
    done = setup.run(fails="flash-attn")
    assert done.returncode == 0
    assert "flash-attn: NOT installed" in done.stdout
    assert "only benchmarks/attention.py" in done.stdout
    assert setup.calls.read_text().splitlines()[-1] == "envs/check_gpu.py"


@pytest.mark.parametrize(("environment", "reason"), [({}, "no nvcc"), ({"FLASH_ATTN": "no"}, "FLASH_ATTN=no")])
def test_setup_leaves_flash_attn_out(setup: Setup, environment: dict[str, str], reason: str) -> None:
    if environment:
        setup.program("nvcc", "")
    elif shutil.which("nvcc", path="/usr/bin:/bin"):
        pytest.skip("this machine has an nvcc in /usr/bin")
    done = setup.run(**environment)
    assert done.returncode == 0
    assert f"left out ({reason}" in done.stdout or f"there is {reason}" in done.stdout
    assert setup.installed() == ["torch", ".[gpu,eval,lora]"]


@pytest.mark.parametrize("step", ["install torch", ".[gpu", "check_gpu"])
def test_setup_fails_if_anything_else_does(setup: Setup, step: str) -> None:
    fails = {"install torch": "constraints.txt torch"}.get(step, step)
    assert setup.run(fails=fails).returncode != 0
    assert fails in setup.calls.read_text().splitlines()[-1]


def test_only_a_benchmark_imports_flash_attn() -> None:
    users = [file for folder in ("opdlm", "workflow_scripts", "benchmarks") for file in ROOT.glob(f"{folder}/**/*.py")]
    assert {file.name for file in users if "flash_attn" in imports([file])} == {"backends.py"}


TORCH = """
__version__ = "2.13.0"
class version:
    cuda = {cuda!r}
class cuda:
    is_available = staticmethod(lambda: {devices} > 0)
    device_count = staticmethod(lambda: {devices})
    get_device_name = staticmethod(lambda index: "H200")
"""


@pytest.mark.parametrize(
    ("cuda", "devices", "deepspeed", "status", "said"),
    [
        ("13.0", 8, "", 0, "sees 8 x H200"),
        ("13.0", 0, "", 0, "sees no GPU. On a login node that is as it should be"),
        (None, 0, "", 1, "MISSING: torch 2.13.0 was built without CUDA"),
        ("13.0", 8, "raise RuntimeError('no compiler')", 1, "MISSING: deepspeed cannot be imported (no compiler)"),
    ],
)
def test_the_check_says_what_is_missing(
    tmp_path: Path, cuda: str | None, devices: int, deepspeed: str, status: int, said: str
) -> None:
    (tmp_path / "torch.py").write_text(TORCH.format(cuda=cuda, devices=devices))
    (tmp_path / "deepspeed.py").write_text(deepspeed)
    for name in ("peft", "snakemake_executor_plugin_slurm"):
        (tmp_path / f"{name}.py").touch()
    command = [sys.executable, str(ROOT / "envs/check_gpu.py")]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True)
    assert said in done.stdout, done.stdout + done.stderr
    assert done.returncode == status
