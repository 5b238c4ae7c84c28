"""Every benchmark goes from its source file to a merged score, with a tiny model that answers."""

import json
from pathlib import Path

import pytest

from opdlm.config.answers import GenerateStage
from opdlm.config.decoding import DecodingSettings
from opdlm.config.evaluation import ScoreStage
from opdlm.config.prompts import WORDINGS
from opdlm.data.sources import read_file
from opdlm.evaluate.generate import generate_shard
from opdlm.evaluate.merge import merge
from opdlm.evaluate.score import score_shard
from opdlm.files import read_json, write_jsonl
from opdlm.verdicts import Merged
from tests.family import Family
from tests.test_readers_registry import BENCHMARKS, example


@pytest.fixture(scope="module")
def model(family: Family, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny student with room for long prompts."""
    folder = tmp_path_factory.mktemp("model")
    for file in family.student.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    config = {**read_json(folder / "config.json"), "max_position_embeddings": 4096}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize("name", BENCHMARKS)
def test_from_source_file_to_merged_score(name: str, model: Path, tmp_path: Path) -> None:
    benchmark = BENCHMARKS[name]
    source = benchmark.source.model_copy(update={"expected_rows": None})
    rows, samples, scores, out = (tmp_path / file for file in ("rows.jsonl", "0-0.jsonl", "0-0.json", "merged.json"))
    write_jsonl(rows, read_file(source, example(tmp_path, benchmark), None))
    stage = GenerateStage(
        prompt=WORDINGS[benchmark.prompt],
        max_tokens=12,
        thinking=benchmark.thinking,
        decoding=DecodingSettings(strategy="dynamic", temperature=benchmark.temperature or 0),
        seed=0,
        shard=0,
        shards=1,
    )
    generate_shard(stage, model, rows, samples, tmp_path / "kept")
    score_shard(ScoreStage(scorer=benchmark.scorer), rows, samples, scores)
    merge([samples], [scores], rows, out)
    result = Merged.model_validate(read_json(out))
    assert 0 <= result.accuracy <= 100
    assert sum(result.reasons.values()) == result.rows >= 1
