"""An exported folder is SDAR's layout with the same model in it, for our loader and for transformers alike."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM

from opdlm.blocks import clean_mask
from opdlm.chat import stop_ids
from opdlm.config.models import ConvertSettings
from opdlm.errors import CheckpointError, DataError
from opdlm.model.attention import SegmentAttention
from opdlm.model.checkpoint import load_config, load_model, load_tokenizer
from opdlm.model.convert import convert
from opdlm.model.export import export_sdar
from tests.conftest import assert_close
from tests.folders import NEW_ROPE, OLD_ROPE, ROPE_THETA, contents, edit_config, write_teacher
from tests.test_checkpoint import largest_file
from tests.test_convert import QWEN3, word_tokenizer

BLOCK = 2
HEAD = "lm_head.weight"


def make_student(place: Path, block_size: int = BLOCK, **layout: Any) -> Path:
    convert(write_teacher(place / "teacher", **layout), place / "student", ConvertSettings(block_size=block_size))
    return place / "student"


@pytest.fixture
def student(tmp_path: Path) -> Path:
    return make_student(tmp_path)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("export")
    export_sdar(make_student(place), place / "sdar")
    return place / "sdar"


@pytest.fixture
def remote_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Transformers copies the code that comes with a model to a folder of the test instead of the user's."""
    monkeypatch.setattr(transformers.dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.syspath_prepend(tmp_path / "modules")


def ids() -> Tensor:
    return torch.randint(250, (11,), generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def logits(folder: Path) -> Tensor:
    """Ours, `[11, vocabulary]`."""
    model, positions = load_model(folder), torch.arange(11)
    assert model.shape.block_size is not None
    mask = clean_mask(positions, positions, model.shape.block_size)
    return model.logits(model(ids(), positions, SegmentAttention([11], [mask])))


def tokenizer_of(folder: Path) -> Any:
    return load_tokenizer(folder)


def stored(folder: Path) -> dict[str, Tensor]:
    return {name: tensor for file in folder.glob("*.safetensors") for name, tensor in load_file(file).items()}


@pytest.mark.parametrize(
    "layout",
    [
        {"rope": OLD_ROPE},
        {"tied": False, "rope": NEW_ROPE},
        {"dtype": torch.bfloat16, "shard_size": "40KB"},
        {"dtype": torch.bfloat16, "tied": False, "shard_size": "40KB"},
    ],
    ids=["tied", "untied", "tied shards in bf16", "untied shards in bf16"],
)
def test_our_loader_reads_it_back_with_the_same_weights_and_logits(tmp_path: Path, layout: dict[str, Any]) -> None:
    student, out = make_student(tmp_path, **layout), tmp_path / "sdar"
    export_sdar(student, out)
    assert torch.equal(logits(out), logits(student))
    before, after = stored(student), stored(out)
    before.setdefault(HEAD, before["model.embed_tokens.weight"])
    assert before.keys() == after.keys()
    assert all(before[name].dtype == after[name].dtype and torch.equal(before[name], after[name]) for name in before)
    files = sorted(out.glob("*.safetensors"))
    index = json.loads((out / "model.safetensors.index.json").read_text())
    assert {file.name for file in files} == set(index["weight_map"].values())
    assert index["metadata"]["total_size"] == sum(tensor.nbytes for tensor in after.values())
    linked = {file.stat().st_ino for file in student.glob("*.safetensors")}
    assert linked < {file.stat().st_ino for file in files} if layout.get("tied", True) else linked
    config = load_config(out)
    assert (config["rope_theta"], config["rope_scaling"], config["tie_word_embeddings"]) == (ROPE_THETA, None, False)
    assert config["torch_dtype"] == str(layout.get("dtype", torch.float32)).removeprefix("torch.")


def test_the_fields_that_servers_read(exported: Path) -> None:
    config = load_config(exported)
    assert config["architectures"] == ["SDARForCausalLM"]
    assert config["model_type"] == "sdar"
    assert (config["block_size"], config["mask_token_id"]) == (BLOCK, tokenizer_of(exported).mask_token_id)
    assert (config["use_sliding_window"], config["sliding_window"]) == (False, None)
    assert "rope_parameters" not in config
    assert all((exported / f"{name.split('.')[0]}.py").is_file() for name in config["auto_map"].values())


@torch.no_grad()
def test_transformers_loads_it_by_the_code_that_comes_with_it(exported: Path, remote_code: None) -> None:
    config = AutoConfig.from_pretrained(exported, trust_remote_code=True)
    assert (type(config).__name__, config.rope_theta, config.block_size) == ("SDARConfig", ROPE_THETA, BLOCK)
    model = AutoModelForCausalLM.from_pretrained(exported, trust_remote_code=True)
    assert type(model).__name__ == "SDARForCausalLM"
    assert_close(model(ids()[None]).logits[0], logits(exported))
    padded, keep = torch.zeros(1, 14, dtype=torch.long), torch.zeros(1, 14, dtype=torch.long)
    padded[0, 3:], keep[0, 3:] = ids(), 1
    assert_close(model(padded, attention_mask=keep).logits[0, 3:], logits(exported))


def test_the_code_that_comes_with_it_needs_nothing_of_ours(exported: Path) -> None:
    assert "opdlm." not in "".join(
        line for line in (exported / "modeling_sdar.py").read_text().splitlines() if line.startswith(("import", "from"))
    )


def test_the_tokenizer_of_another_vocabulary_stays_as_it_is(tmp_path: Path, student: Path) -> None:
    export_sdar(student, tmp_path / "sdar")
    before, after = tokenizer_of(student), tokenizer_of(tmp_path / "sdar")
    assert (after.mask_token, after.mask_token_id) == ("<|mask|>", before.mask_token_id)
    assert after.get_vocab() == before.get_vocab()
    assert set(after.all_special_tokens) == set(before.all_special_tokens)
    assert after.chat_template == before.chat_template
    settings = json.loads((tmp_path / "sdar" / "tokenizer_config.json").read_text())
    assert settings["tokenizer_class"] == "PreTrainedTokenizerFast"  # the other names are unknown to transformers 4
    assert not {"backend", "extra_special_tokens"} & set(settings)


def test_qwen3s_mask_token_gets_sdars_name(tmp_path: Path) -> None:
    """Also if the model is as the published converter leaves it, without a mask token in its tokenizer."""
    published = write_teacher(tmp_path / "published", word_tokenizer(151669), QWEN3)
    convert(published, tmp_path / "converted", ConvertSettings())
    edit_config(published, model_type="a2d-qwen3")
    for source in (published, tmp_path / "converted"):
        out = source.with_suffix(".sdar")
        export_sdar(source, out)
        tokenizer = tokenizer_of(out)
        assert (tokenizer.mask_token, tokenizer.mask_token_id, len(tokenizer)) == ("<|MASK|>", 151669, 151670)
        assert tokenizer.decode([5, 151669], skip_special_tokens=True) == "w5"
        assert load_config(out)["mask_token_id"] == 151669


def test_the_end_tokens_are_ours_unless_the_model_has_a_generation_config(tmp_path: Path, student: Path) -> None:
    export_sdar(student, tmp_path / "a")
    assert json.loads((tmp_path / "a" / "generation_config.json").read_text()) == {
        "eos_token_id": stop_ids(load_tokenizer(student))
    }
    for name in ("generation_config.json", "settings.json", "metrics.jsonl"):
        (student / name).write_text('{"top_k": 20}')
    export_sdar(student, tmp_path / "b")
    for name in ("generation_config.json", "settings.json", "metrics.jsonl"):
        assert (tmp_path / "b" / name).read_text() == '{"top_k": 20}'


def test_exporting_an_exported_model_changes_nothing(exported: Path, tmp_path: Path) -> None:
    export_sdar(exported, tmp_path / "again")
    assert contents(tmp_path / "again") == contents(exported)


def test_an_autoregressive_model_is_refused(tmp_path: Path, student: Path) -> None:
    with pytest.raises(CheckpointError, match="teacher is an autoregressive model; `opdlm convert` makes"):
        export_sdar(student.with_name("teacher"), tmp_path / "sdar")
    assert not (tmp_path / "sdar").exists()


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_missing_file_is_named(tmp_path: Path, student: Path, name: str) -> None:
    (student / name).unlink()
    with pytest.raises(CheckpointError, match=name.removesuffix(".json") if "tokenizer" in name else name) as caught:
        export_sdar(student, tmp_path / "sdar")
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["student", "teacher"]


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path, student: Path) -> None:
    edit_config(student, mask_token_id=7)
    with pytest.raises(CheckpointError, match=f"{student}: the tokenizer's mask token has id 288.*says 7"):
        export_sdar(student, tmp_path / "sdar")
    assert not (tmp_path / "sdar").exists()


def test_only_an_empty_folder_is_written_to(tmp_path: Path, student: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    (tmp_path / "empty").mkdir()
    for out in (tmp_path / "full", tmp_path / "full" / "notes.txt"):
        with pytest.raises(CheckpointError, match=f"{out} exists and is not an empty folder"):
            export_sdar(student, out)
    assert contents(tmp_path / "full") == {"notes.txt": b"mine"}
    export_sdar(student, tmp_path / "empty")
    load_model(tmp_path / "empty")


def test_a_disk_that_fills_up_leaves_nothing(tmp_path: Path, student: Path) -> None:
    limit = (student / "tokenizer.json").stat().st_size + 1000  # the tokenizer fits, the head does not
    with largest_file(limit), pytest.raises(DataError, match="cannot write"):
        export_sdar(student, tmp_path / "sdar")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["student", "teacher"]
