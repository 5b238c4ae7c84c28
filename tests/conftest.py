"""Small real models, made on the spot. One thread: the models are too small for more, and CI may share its cores."""

import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import torch

from opdlm.evaluate.launcher import Launcher
from opdlm.evaluate.sandbox import run_stdio
from opdlm.model.qwen3 import Qwen3
from opdlm.model.shape import Shape
from tests.family import Family, make_family, run, small_stage
from tests.tree import Tree

torch.set_num_threads(1)
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # our kernels run all the same
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

VOCABULARY, MASK_TOKEN, END_TOKEN = 40, 39, 38


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Several processes take the files that last longest first, so that none is at work alone at the end."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: item.get_closest_marker("slow") is None)


def make_model(block_size: int | None = 4, seed: int = 0, tied: bool = True, head_dim: int = 8) -> Qwen3:
    """A random Qwen3 of two layers in fp32; large weights, so that its distributions are far from uniform."""
    shape = Shape(
        model_type="a2d-qwen3" if block_size else "qwen3",
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=head_dim,
        max_position_embeddings=256,
        tie_word_embeddings=tied,
        block_size=block_size,
        mask_token_id=MASK_TOKEN if block_size else None,
    )
    with torch.random.fork_rng():
        # The modules' own initialisation draws from the global generator. With this seed no test meets two
        # confidences that fp32 cannot tell apart, whose order would depend on rounding.
        torch.manual_seed(seed + 1)
        model = Qwen3(shape)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model.eval()


def assert_close(actual: torch.Tensor, expected: torch.Tensor) -> None:
    """Equal in fp32: no element differs by more than 1e-5 of the largest one. The logits here reach about 20."""
    scale = max(1.0, float(expected.abs().max())) if expected.numel() else 1.0
    torch.testing.assert_close(actual, expected, atol=1e-5 * scale, rtol=0)


@pytest.fixture
def student() -> Qwen3:
    return make_model()


@pytest.fixture
def teacher() -> Qwen3:
    return make_model(block_size=None)


@pytest.fixture(scope="session")
def family(tmp_path_factory: pytest.TempPathFactory) -> Family:
    """A teacher, its conversion and prompts. Tests read them and change nothing."""
    return make_family(tmp_path_factory.mktemp("family"))


@pytest.fixture(scope="session")
def finished(family: Family, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed run of `small_stage()`: `state` and `out`. Tests change copies of it."""
    folder = tmp_path_factory.mktemp("undisturbed")
    run(family, small_stage(), folder)
    return folder


@pytest.fixture(scope="module")
def launcher() -> Iterator[Launcher]:
    """What starts sandboxes."""
    with Launcher() as started:
        # Programs that delete and kill are run in them: first make sure that they will be alone.
        look = "import os\nprint(os.path.exists('/etc'), os.path.exists('/proc'), os.getuid(), os.listdir('/home'))"
        assert run_stdio(started, look, b"", 5).stdout == b"False False 65534 []\n"
        yield started


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """The workflow with everything built by stand-ins. Tests leave it as it is: they edit for a while and plan."""
    tree = Tree(tmp_path_factory.mktemp("workflow"))
    done = tree.snakemake("--cores", "8", "all")
    assert done.returncode == 0, done.stderr
    return tree
