"""A push through huggingface_hub's own client, to a hub on this machine: what arrives, what is sent again, what fails.

Large files go by the hub's older protocol: the newer one, Xet, has a storage server of its own.
"""

import shutil
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
import yaml

from opdlm.config.models import ConvertSettings
from opdlm.errors import CheckpointError, DataError
from opdlm.files import write_jsonl, write_text
from opdlm.identity import canonical_json, settings_hash
from opdlm.model.card import card, loading
from opdlm.model.checkpoint import Hub, load_model, load_shape, load_tokenizer, local_folder
from opdlm.model.convert import convert
from opdlm.model.export import export_sdar
from opdlm.model.push import push
from tests.family import small_stage
from tests.folders import contents, edit_config, write_teacher
from tests.hub import COMMIT, FakeHub, serve

NAME = "someone/tiny"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a teacher and its conversion."""
    place = tmp_path_factory.mktemp("push")
    convert(write_teacher(place / "teacher"), place / "student", ConvertSettings())
    return place


@pytest.fixture
def model(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made / "student", tmp_path / "student")


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A hub that has no model yet."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    (tmp_path / "hub").mkdir()
    with serve(NAME, tmp_path / "hub", exists=False) as hub:
        yield hub


@pytest.fixture
def hub(server: FakeHub, tmp_path: Path) -> Hub:
    return Hub(server.endpoint, tmp_path / "cache")


def digests(folder: Path) -> dict[str, str]:
    return {name: sha256(data).hexdigest() for name, data in contents(folder).items()}


def text_of_card(folder: Path) -> str:
    return card(folder, NAME, load_model(folder), load_tokenizer(folder))


def test_everything_arrives_in_one_commit_with_a_card(model: Path, server: FakeHub, hub: Hub) -> None:
    (model / ".snakemake_timestamp").touch()
    before = contents(model)
    assert push(model, NAME, hub=hub) == f"{server.endpoint}/{NAME}/commit/{COMMIT}"
    assert contents(model) == before
    arrived, sent = digests(server.folder), digests(model)
    assert arrived.pop("README.md") == sha256(text_of_card(model).encode()).hexdigest()
    del sent[".snakemake_timestamp"]
    assert arrived == sent
    assert set(server.objects) == {sent[name] for name in sent if name.endswith(".safetensors")}
    assert [sorted(files) for files in server.commits] == [sorted([*sent, "README.md"])]
    assert not server.private


def test_an_exported_model_is_pushed_in_shards_and_can_be_fetched(
    model: Path, tmp_path: Path, server: FakeHub, hub: Hub
) -> None:
    export_sdar(model, tmp_path / "sdar")
    push(tmp_path / "sdar", NAME, hub=hub)
    assert digests(server.folder).items() >= digests(tmp_path / "sdar").items()
    assert len(server.objects) == 2
    weights, fetched = load_model(model).state_dict(), load_model(local_folder(NAME, hub=hub)).state_dict()
    assert all(torch.equal(weights[name], fetched[name]) for name in weights)


def test_only_what_changed_is_sent_again(model: Path, server: FakeHub, hub: Hub) -> None:
    push(model, NAME, hub=hub)
    objects = dict(server.objects)
    assert push(model, NAME, hub=hub) == f"{server.endpoint}/{NAME}/commit/{COMMIT}"
    assert len(server.commits) == 1
    edit_config(model, bos_token_id=None)
    push(model, NAME, hub=hub)
    assert server.commits[1:] == [["config.json"]]
    assert server.objects == objects


def test_a_private_model_and_a_branch_are_made(model: Path, server: FakeHub, hub: Hub) -> None:
    for _ in range(2):
        push(model, NAME, private=True, revision="step-100", hub=hub)
    assert server.private
    assert [path.name for path in server.folder.iterdir()] == [".step-100"]
    assert digests(server.branch("step-100")).items() >= digests(model).items()
    assert len(server.commits) == 1


def test_a_card_of_ones_own_is_kept(model: Path, server: FakeHub, hub: Hub) -> None:
    (model / "README.md").write_text("---\nlicense: mit\n---\nMine.\n")
    push(model, NAME, hub=hub)
    assert digests(server.folder) == digests(model)


def test_the_client_with_xet_pushes_too(
    model: Path, server: FakeHub, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes another way through the client. No file is large here, because large ones would go to Xet's storage."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", False)
    server.large = ("nothing",)
    for _ in range(2):
        push(model, NAME, hub=hub)
    assert digests(server.folder).items() >= digests(model).items()
    assert len(server.commits) == 1


@pytest.mark.parametrize("status", [401, 403])
def test_no_permission_says_what_to_do(model: Path, server: FakeHub, hub: Hub, status: int) -> None:
    server.refused = status
    with pytest.raises(CheckpointError, match=f"cannot push to {NAME} at .*{status}.*`hf auth login`") as caught:
        push(model, NAME, hub=hub)
    assert "\n" not in str(caught.value)
    assert server.commits == []


@pytest.mark.parametrize("repo", ["someone/else/tiny", "some one", "-tiny"])
def test_a_name_that_cannot_be_is_one_line(model: Path, server: FakeHub, hub: Hub, repo: str) -> None:
    with pytest.raises(CheckpointError, match=f"cannot push to {repo} at .*Repo id") as caught:
        push(model, repo, hub=hub)
    assert "\n" not in str(caught.value)
    assert not server.exists


def test_no_server_is_one_line(model: Path, tmp_path: Path) -> None:
    with serve(NAME, model) as gone:
        pass
    with pytest.raises(CheckpointError, match=f"cannot push to {NAME} at {gone.endpoint}: .*refused") as caught:
        push(model, NAME, hub=Hub(gone.endpoint))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_nothing_of_an_incomplete_folder_is_sent(model: Path, server: FakeHub, hub: Hub, name: str) -> None:
    (model / name).unlink()
    with pytest.raises(CheckpointError, match=str(model)):
        push(model, NAME, hub=hub)
    assert not server.exists


def test_the_card_says_how_a_model_was_made(model: Path) -> None:
    stage = small_stage()
    write_text(model / "settings.json", canonical_json(stage))
    lines: list[Any] = [
        {"kind": "update", "rollout": 3, "update": 5, "loss": 0.1, "loss_tokens": 1234},
        {"kind": "rollout"},
    ]
    write_jsonl(model / "metrics.jsonl", lines)
    edit_config(model, _name_or_path="Qwen/Qwen3-0.6B")
    _, metadata, text = text_of_card(model).split("---\n", 2)
    assert yaml.safe_load(metadata) == {
        "base_model": "Qwen/Qwen3-0.6B",
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["opdlm", "block-diffusion"],
    }
    for row in (
        "| base model | Qwen/Qwen3-0.6B |",
        "| made by | distillation: 6 updates in 3 rollouts, on 1,234 answer tokens |",
        "| block size | 4 |",
        r"| mask token | `<\|mask\|>`, 288 |",
        f"| weights | {sum(p.numel() for p in load_model(model).parameters()):,}, float32 |",
        f"| settings hash | {settings_hash(stage)} |",
    ):
        assert row in text
    assert f'AutoModelForCausalLM.from_pretrained("{NAME}")' in text
    assert canonical_json(stage) in text


def test_the_card_of_an_autoregressive_model_has_no_blocks(made: Path) -> None:
    text = text_of_card(made / "teacher")
    assert "Autoregressive language model" in text
    assert not any(word in text for word in ("block size", "mask token", "inside blocks"))


@pytest.mark.parametrize("path", ["/work/models/qwen", "./models/qwen", "models/teacher/qwen", "", None])
def test_a_folder_is_no_base_model(model: Path, path: str | None) -> None:
    edit_config(model, _name_or_path=path)
    assert "base_model" not in text_of_card(model)
    assert "| base model | not recorded |\n| made by | not recorded: " in text_of_card(model)


def test_a_torn_metrics_file_is_named(model: Path) -> None:
    (model / "metrics.jsonl").write_text('{"kind": "upd')
    with pytest.raises(DataError, match=r"metrics.jsonl, line 1"):
        text_of_card(model)


def test_the_card_of_an_exported_model_says_how_it_is_served(model: Path, tmp_path: Path) -> None:
    export_sdar(model, tmp_path / "sdar")
    text = text_of_card(tmp_path / "sdar")
    assert "trust_remote_code=True" in text
    assert "cannot serve this model: they take the mask token to be 151669, here it is 288" in text
    shape = load_shape(model).model_copy(update={"mask_token_id": 151669})
    four = loading(NAME, shape, is_sdar=True)
    assert f"sglang.launch_server --model-path {NAME} --trust-remote-code --dllm-algorithm LowConfidence\n" in four
    assert "dllm_block_length=4" in four
    sixteen = loading(NAME, shape.model_copy(update={"block_size": 16}), is_sdar=True)
    assert "echo 'block_size: 16' > dllm.yaml\npython3 -m sglang.launch_server" in sixteen
    assert "--dllm-algorithm LowConfidence --dllm-algorithm-config dllm.yaml\n" in sixteen
    assert "dllm_block_length=16" in sixteen
