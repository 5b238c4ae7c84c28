"""Conversion changes no weight, adds the mask token, and gives a folder that ours and transformers load alike."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer, models
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast, Qwen3ForCausalLM

from opdlm.blocks import clean_mask
from opdlm.config.models import ConvertSettings, TinyArchitecture
from opdlm.errors import CheckpointError
from opdlm.model.attention import SegmentAttention
from opdlm.model.checkpoint import load_model, load_shape
from opdlm.model.convert import convert
from tests.conftest import assert_close
from tests.folders import BOTH_ROPE, NEW_ROPE, OLD_ROPE, ROPE_THETA, edit_config, write_teacher

BLOCK = 4
QWEN3 = TinyArchitecture(
    vocab_size=151936,
    hidden_size=4,
    intermediate_size=4,
    num_hidden_layers=1,
    num_attention_heads=1,
    num_key_value_heads=1,
    head_dim=4,
    max_position_embeddings=16,
)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_teacher(tmp_path_factory.mktemp("models") / "teacher")


@pytest.fixture(scope="module")
def student(teacher: Path) -> Path:
    out = teacher.with_name("student")
    convert(teacher, out, ConvertSettings(block_size=BLOCK))
    return out


def stored(folder: Path) -> dict[str, Tensor]:
    """All tensors of a folder, read with safetensors alone."""
    return {name: tensor for file in folder.glob("*.safetensors") for name, tensor in load_file(file).items()}


def word_tokenizer(entries: int) -> PreTrainedTokenizerFast:
    """A tokenizer with that many entries; what they are does not matter."""
    words = Tokenizer(models.WordLevel({f"w{number}": number for number in range(entries)}, unk_token="w0"))
    return PreTrainedTokenizerFast(tokenizer_object=words, eos_token="w1", pad_token="w2")


def brute_force_mask(length: int, real: range) -> Tensor:
    """Additive: a token sees all real tokens of its block and of the blocks before; blocks open at the first one."""
    mask = torch.full((length, length), torch.finfo(torch.float32).min)
    for query in range(length):
        for key in range(length):
            same_or_earlier = (key - real.start) // BLOCK <= (query - real.start) // BLOCK
            if query == key or (query in real and key in real and same_or_earlier):
                mask[query, key] = 0.0
    return mask


def random_ids(*size: int) -> Tensor:
    return torch.randint(250, size, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def our_logits(folder: Path, ids: Tensor) -> Tensor:
    model, positions = load_model(folder, torch.float32), torch.arange(len(ids))
    mask = clean_mask(positions, positions, BLOCK)
    return model.logits(model(ids, positions, SegmentAttention([len(ids)], [mask])))


@pytest.mark.parametrize(
    "layout",
    [
        {"rope": OLD_ROPE},
        {"rope": NEW_ROPE, "tied": False},
        {"dtype": torch.bfloat16, "shard_size": "40KB"},
        {"dtype": torch.bfloat16, "tied": False, "shard_size": "40KB", "rope": OLD_ROPE},
        {"rope": BOTH_ROPE, "shard_size": "40KB"},
    ],
    ids=["old rope", "untied, new rope", "bf16 shards", "bf16 untied shards, old rope", "shards"],
)
@torch.no_grad()
def test_weights_are_bit_identical_and_models_agree_in_every_layout(tmp_path: Path, layout: dict[str, Any]) -> None:
    source = write_teacher(tmp_path / "teacher", **layout)
    assert len(list(source.glob("*.safetensors"))) == 1 or (source / "model.safetensors.index.json").is_file()
    convert(source, tmp_path / "student", ConvertSettings(block_size=BLOCK))

    before, after = stored(source), stored(tmp_path / "student")
    assert before.keys() == after.keys()
    assert all(before[name].dtype == after[name].dtype and torch.equal(before[name], after[name]) for name in before)
    assert load_shape(tmp_path / "student").rope_theta == ROPE_THETA

    ids = random_ids(11)
    reference = Qwen3ForCausalLM.from_pretrained(source, dtype=torch.float32, attn_implementation="eager")
    expected = reference(ids[None], attention_mask=brute_force_mask(11, range(11))[None, None]).logits[0]
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "student", dtype=torch.float32)(ids[None]).logits[0]
    assert_close(our_logits(tmp_path / "student", ids), expected)
    assert_close(theirs, expected)


def test_mask_token_gets_the_first_free_row_and_is_recorded(teacher: Path, student: Path) -> None:
    before, after = AutoTokenizer.from_pretrained(teacher), AutoTokenizer.from_pretrained(student)
    assert before.mask_token is None
    assert (after.mask_token, after.mask_token_id) == ("<|mask|>", len(before))
    assert after.encode("1<|mask|>", add_special_tokens=False)[1:] == [len(before)]
    assert after.decode([len(before)], skip_special_tokens=True) == ""
    config = json.loads((student / "config.json").read_text())
    assert (config["model_type"], config["block_size"], config["mask_token_id"]) == ("a2d-qwen3", BLOCK, len(before))
    unchanged = json.loads((teacher / "config.json").read_text())
    assert {key: config[key] for key in unchanged if key not in ("model_type", "architectures")} == {
        key: value for key, value in unchanged.items() if key not in ("model_type", "architectures")
    }


def test_converting_twice_changes_nothing(student: Path, tmp_path: Path) -> None:
    convert(student, tmp_path / "again", ConvertSettings(block_size=BLOCK))
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        assert (tmp_path / "again" / name).read_bytes() == (student / name).read_bytes()


def test_mean_initialisation_touches_the_mask_row_alone(teacher: Path, tmp_path: Path) -> None:
    convert(teacher, tmp_path / "mean", ConvertSettings(mask_init="mean"))
    before, after = stored(teacher), stored(tmp_path / "mean")
    mask_id = load_shape(tmp_path / "mean").mask_token_id
    embedding = before["model.embed_tokens.weight"].clone()
    embedding[mask_id] = embedding[:mask_id].double().mean(dim=0).float()
    torch.testing.assert_close(after["model.embed_tokens.weight"], embedding, atol=1e-6, rtol=0)
    before["model.embed_tokens.weight"][mask_id] = after["model.embed_tokens.weight"][mask_id]
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_qwen3s_mask_token_is_151669(tmp_path: Path) -> None:
    source = write_teacher(tmp_path / "teacher", word_tokenizer(151669), QWEN3)
    convert(source, tmp_path / "student", ConvertSettings())
    assert load_shape(tmp_path / "student").mask_token_id == 151669


@pytest.mark.parametrize("entries", [151668, 151670])
def test_a_tokenizer_that_is_not_qwen3s_is_refused(tmp_path: Path, entries: int) -> None:
    source = write_teacher(tmp_path / "teacher", word_tokenizer(entries), QWEN3)
    with pytest.raises(CheckpointError, match=f"would get id {entries} instead of 151669"):
        convert(source, tmp_path / "student", ConvertSettings())
    assert not (tmp_path / "student").exists()


def test_a_full_embedding_is_refused(tmp_path: Path) -> None:
    source = write_teacher(tmp_path / "teacher", word_tokenizer(300), QWEN3.model_copy(update={"vocab_size": 300}))
    with pytest.raises(CheckpointError, match="would get id 300, but the embedding has 300 rows"):
        convert(source, tmp_path / "student", ConvertSettings())


@pytest.mark.parametrize("side", ["left", "right"])
@torch.no_grad()
def test_padding_of_a_batch_changes_no_logit(student: Path, side: str) -> None:
    """Blocks are counted from each row's first real token, on whichever side it is padded."""
    model = AutoModelForCausalLM.from_pretrained(student)
    lengths, width = [9, 6, 3], 9
    rows = [random_ids(width)[:length] for length in lengths]
    batch, keep = torch.zeros(3, width, dtype=torch.long), torch.zeros(3, width, dtype=torch.long)
    places = [slice(width - n, width) if side == "left" else slice(0, n) for n in lengths]
    for index, (row, place) in enumerate(zip(rows, places, strict=True)):
        batch[index, place], keep[index, place] = row, 1
    together = model(batch, attention_mask=keep).logits
    for index, (row, place) in enumerate(zip(rows, places, strict=True)):
        assert_close(together[index, place], our_logits(student, row))


@torch.no_grad()
def test_embeddings_may_be_given_instead_of_ids(student: Path) -> None:
    model, ids = AutoModelForCausalLM.from_pretrained(student), random_ids(2, 7)
    torch.testing.assert_close(model(inputs_embeds=model.get_input_embeddings()(ids)).logits, model(ids).logits)


def test_transformers_reads_and_writes_the_configuration(student: Path, tmp_path: Path) -> None:
    config = AutoConfig.from_pretrained(student)
    assert (type(config).__name__, config.block_size) == ("A2DQwen3Config", BLOCK)
    AutoModelForCausalLM.from_pretrained(student).save_pretrained(tmp_path)
    assert load_shape(tmp_path) == load_shape(student)
    ids = random_ids(10)
    torch.testing.assert_close(our_logits(tmp_path, ids), our_logits(student, ids))


def test_published_layout_needs_neither_block_size_nor_mask_token(student: Path, tmp_path: Path) -> None:
    """The published converter writes only the model type; the block size is 4, the mask token the tokenizer's."""
    convert(student, tmp_path / "published", ConvertSettings())
    edit_config(tmp_path / "published", block_size=..., mask_token_id=...)
    assert load_shape(tmp_path / "published") == load_shape(student)
    ids = random_ids(10)
    torch.testing.assert_close(our_logits(tmp_path / "published", ids), our_logits(student, ids))


def test_published_layout_with_qwen3s_own_tokenizer(tmp_path: Path) -> None:
    """The published converter leaves the tokenizer without a mask token (defect D1); Qwen3's free row is known."""
    source = write_teacher(tmp_path / "published", word_tokenizer(151669), QWEN3)
    edit_config(source, model_type="a2d-qwen3")
    shape = load_shape(source)
    assert (shape.block_size, shape.mask_token_id) == (4, 151669)


def test_a_diffusion_model_of_another_size_must_name_its_mask_token(tmp_path: Path) -> None:
    source = write_teacher(tmp_path / "nameless")
    edit_config(source, model_type="a2d-qwen3")
    with pytest.raises(CheckpointError, match="names the mask token"):
        load_model(source)
