"""The console command on a small real model: each command does its work, or says in one line why not."""

import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import huggingface_hub
import pytest

from opdlm import __version__
from opdlm.cli import main
from opdlm.config.models import ConvertSettings
from opdlm.data.rows import Row
from opdlm.data.tiny import rows
from opdlm.data.tiny_tokenizer import build
from opdlm.evaluate.journal import Journal
from opdlm.evaluate.launcher import Launcher
from opdlm.files import read_json, read_jsonl, write_jsonl
from opdlm.model.checkpoint import load_shape
from opdlm.model.convert import convert
from opdlm.records import Sample
from opdlm.verdicts import Scores
from tests.folders import edit_config, write_teacher
from tests.hub import COMMIT, serve

KILLED = """
import os, signal, sys
from opdlm.cli import main
from opdlm.evaluate.journal import Journal, json_line

def append(self, sample, whole=Journal.append):
    if len(self.samples) == 3:
        self.stream.write(json_line(sample).encode()[:30])
        self.stream.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    whole(self, sample)

Journal.append = append
main(sys.argv[1:])
"""
"""Runs a command, and is killed in the middle of the line of its fourth answer."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a teacher, its conversion, and five questions."""
    place = tmp_path_factory.mktemp("cli")
    write_teacher(place / "teacher", build(512, ["TinyMath"], seed=0))
    convert(place / "teacher", place / "student", ConvertSettings())
    write_jsonl(place / "rows.jsonl", rows(["TinyMath"], "test", 5, seed=0))
    return place


def command(place: Path, out: Path, model: str = "student", strategy: str = "static") -> list[str]:
    given = {"model": place / model, "prompts": place / "rows.jsonl", "out": out, "strategy": strategy, "device": "cpu"}
    return ["generate", *(str(part) for key, value in given.items() for part in (f"--{key}", value))]


def generate(place: Path, out: Path, *more: str, model: str = "student", strategy: str = "static") -> int:
    return main([*command(place, out, model, strategy), *more])


def score(place: Path, answers: Path, out: Path) -> int:
    given = {"kind": "math", "rows": place / "rows.jsonl", "responses": answers, "out": out}
    return main(["score", *(str(part) for key, value in given.items() for part in (f"--{key}", value))])


def test_convert_generate_score(place: Path, tmp_path: Path) -> None:
    assert main(["convert", str(place / "teacher"), str(tmp_path / "b2"), "--block-size", "2"]) == 0
    assert load_shape(tmp_path / "b2").block_size == 2
    assert generate(place, tmp_path / "answers.jsonl", "--max-tokens", "9", "--tokens-per-step", "2") == 0
    answers = read_jsonl(tmp_path / "answers.jsonl", Sample)
    assert [answer.index for answer in answers] == [0, 1, 2, 3, 4]
    assert all(1 <= len(answer.ids) <= 9 for answer in answers)
    assert score(place, tmp_path / "answers.jsonl", tmp_path / "scores.json") == 0
    verdicts = Scores.model_validate(read_json(tmp_path / "scores.json")).verdicts
    assert [verdict.index for verdict in verdicts] == [0, 1, 2, 3, 4]


def test_score_judges_by_a_registered_benchmark_and_its_prepared_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Path(__file__).parents[1] / "config" / "benchmarks.yaml"
    prepared = tmp_path / "results" / "data" / "benchmarks" / "MATH-500.jsonl"
    write_jsonl(prepared, [Row(question="6 times 7?", ground_truth_answer="42")])
    (tmp_path / "answers.jsonl").write_text(json.dumps({"index": 0, "response": "It is $\\boxed{42}$."}) + "\n")
    monkeypatch.chdir(tmp_path)
    given = ["--registry", str(registry), "--responses", "answers.jsonl", "--out", "scores.json"]
    assert main(["score", "--benchmark", "MATH-500", *given]) == 0
    assert read_json(tmp_path / "scores.json")["summary"]["correct"] == 1


def test_score_judges_programs_from_anywhere_by_published_rows(tmp_path: Path) -> None:
    rows = [{"question": "Double.", "test_method": "stdio", "test_input": ["2\n"], "test_output": ["4"], "rating": 800}]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    program = "```python\nprint(2 * int(input()))\n```"
    (tmp_path / "answers.jsonl").write_text(json.dumps({"index": 0, "response": program}) + "\n")
    given = {"rows": tmp_path / "rows.json", "responses": tmp_path / "answers.jsonl", "out": tmp_path / "scores.json"}
    paths = [str(part) for key, value in given.items() for part in (f"--{key}", value)]
    assert main(["score", "--kind", "code", *paths]) == 0
    assert read_json(tmp_path / "scores.json") == {
        "summary": {
            "answers": 1,
            "correct": 1,
            "accuracy": 100.0,
            "published_accuracy": 100.0,
            "score": 100.0,
            "reasons": {"correct": 1},
        },
        "verdicts": [{"index": 0, "correct": True, "published": True, "score": 1.0, "reason": "correct", "detail": ""}],
    }
    assert {path.name for path in tmp_path.iterdir()} == {"rows.json", "answers.jsonl", "scores.json"}


def test_score_runs_programs_without_a_sandbox_only_if_that_is_permitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def trouble(launcher: Launcher, really: Callable[[Launcher], str] = Launcher._trouble) -> str:
        return really(launcher) if launcher._enclosure == "none" else "not here"

    monkeypatch.setattr(Launcher, "_trouble", trouble)
    row = {"question": "Double.", "test_method": "stdio", "test_input": ["2\n"], "test_output": ["4"]}
    (tmp_path / "rows.json").write_text(json.dumps([row, row]))
    programs = ("print(2 * int(input()))", "print(5)")
    lines = [json.dumps({"index": n, "response": f"```\n{code}\n```"}) for n, code in enumerate(programs)]
    (tmp_path / "answers.jsonl").write_text("\n".join(lines) + "\n")
    given = {"rows": tmp_path / "rows.json", "responses": tmp_path / "answers.jsonl", "out": tmp_path / "scores.json"}
    command = ["score", "--kind", "code", *(str(part) for key, path in given.items() for part in (f"--{key}", path))]
    assert main(command) == 1
    said = capsys.readouterr().err
    assert re.search(r"error: .*not run without a sandbox. Namespaces are refused \(not here\).*--unsafe", said)
    assert not (tmp_path / "scores.json").exists()
    assert main([*command, "--unsafe"]) == 0
    assert "warning: programs written by a model run WITHOUT A SANDBOX" in capsys.readouterr().err
    assert [verdict["reason"] for verdict in read_json(tmp_path / "scores.json")["verdicts"]] == ["correct", "wrong"]


def test_export_and_push(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(place / "student"), str(tmp_path / "sdar"), "--layout", "sdar"]) == 0
    assert load_shape(tmp_path / "sdar").model_type == "sdar"
    (tmp_path / "hub").mkdir()
    with serve("someone/tiny", tmp_path / "hub", exists=False) as hub:
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", hub.endpoint)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
        assert main(["push", str(tmp_path / "sdar"), hub.name, "--private", "--revision", "b4"]) == 0
    assert capsys.readouterr().out.endswith(f"{hub.endpoint}/{hub.name}/commit/{COMMIT}\n")
    assert hub.private
    assert load_shape(hub.branch("b4")) == load_shape(tmp_path / "sdar")


def test_options_reach_the_decoder(place: Path, tmp_path: Path) -> None:
    """Sampled answers depend on the seed; a teacher answers by autoregression, one token a step."""
    sampling = ("--max-tokens", "8", "--temperature", "1.0")
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        assert generate(place, tmp_path / name, *sampling, "--seed", seed, strategy="dynamic") == 0
    first, same, other = (read_jsonl(tmp_path / name, Sample) for name in "abc")
    assert first == same
    assert [answer.ids for answer in first] != [answer.ids for answer in other]
    assert generate(place, tmp_path / "ar", "--max-tokens", "8", model="teacher", strategy="autoregressive") == 0
    assert all(answer.steps == list(range(1, len(answer.ids) + 1)) for answer in read_jsonl(tmp_path / "ar", Sample))


def test_a_killed_generation_goes_on_with_the_answers_that_are_missing(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options, out = ("--max-tokens", "9", "--temperature", "1"), tmp_path / "answers.jsonl"
    assert generate(place, tmp_path / "whole.jsonl", *options) == 0
    done = subprocess.run([sys.executable, "-c", KILLED, *command(place, out), *options], capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    [partial] = tmp_path.glob(".answers.jsonl.kept/*/*.jsonl")
    lines = partial.read_bytes().splitlines(keepends=True)
    assert [line.endswith(b"\n") for line in lines] == [True, True, True, False]
    written: list[int] = []
    original = Journal.append

    def counting(journal: Journal, sample: Sample) -> None:
        written.append(sample.index)
        original(journal, sample)

    monkeypatch.setattr(Journal, "append", counting)
    assert generate(place, out, *options) == 0
    assert out.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert {*written} == {0, 1, 2, 3, 4} - {json.loads(line)["sample"]["index"] for line in lines[:3]}
    assert len(written) == 2


def test_weights_of_another_shape_are_refused_before_anything_is_decoded(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(place / "student", tmp_path / "student")
    edit_config(tmp_path / "student", intermediate_size=50)
    shutil.copy(place / "rows.jsonl", tmp_path)
    assert generate(tmp_path, tmp_path / "out.jsonl", "--max-tokens", "9") == 1
    said = capsys.readouterr().err
    assert said.startswith(f"error: {tmp_path / 'student' / 'model.safetensors'}: model.layers.0.mlp.")
    assert said.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rows.jsonl", "student"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["generate", "--strategy", "statik"], r"argument --strategy: invalid choice: 'statik' .*static.*dynamic"),
        (["chat", "--strategy", "statik"], r"argument --strategy: invalid choice: 'statik' .*static.*dynamic"),
        (["generate", "--wording", "maths"], r"argument --wording: invalid choice: 'maths' .*math"),
        (["generate", "--model", "m", "--out", "o", "--strategy", "static", "--prompt", "p"], "required: --prompts"),
    ],
)
def test_a_wrong_option_is_named_with_what_there_is(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert re.search(message, capsys.readouterr().err)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["convert", "{place}/nowhere", "{out}"], "nowhere is not a folder"),
        (["convert", "{place}/teacher", "{out}", "--block-size", "0"], "block_size: .*greater than 0.*got 0"),
        (["generate", "--prompts", "{place}/no.jsonl"], "no.jsonl does not exist"),
        (["generate", "--prompts", "{place}/rows.jsonl", "--threshold", "2"], "threshold: .*less than or equal to 1"),
        (
            ["generate", "--prompts", "{place}/rows.jsonl", "--max-tokens", "250"],
            r"rows\.jsonl, line 1: a prompt of \d+ tokens and max_tokens=250 exceed the model's 256 positions; shorten",
        ),
        (["export", "{place}/teacher", "{out}"], "teacher is an autoregressive model; `opdlm convert` makes"),
        (["export", "{place}", "{out}"], "is not a model folder: it has no config.json"),
        (["push", "{place}", "someone/tiny"], "is not a model folder: it has no config.json"),
        (["score", "--rows", "{place}/rows.jsonl", "--responses", "{place}/no.jsonl"], "no.jsonl does not exist"),
        (["score", "--responses", "{place}/no.jsonl"], "--kind needs --rows"),
        (["score", "--benchmark", "MMLU-Max", "--responses", "a"], "has no benchmark 'MMLU-Max'; it has AIME-24, "),
        (["score", "--benchmark", "MMLU", "--registry", "no.yaml", "--responses", "a"], "no.yaml cannot be read"),
    ],
)
def test_errors_are_one_line(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    out = tmp_path / "out"
    given = [argument.format(place=place, out=out) for argument in arguments]
    if given[0] == "generate":
        given += ["--model", str(place / "student"), "--strategy", "static", "--device", "cpu", "--out", str(out)]
    if given[0] == "score":
        given += ["--out", str(out), *([] if "--benchmark" in given else ["--kind", "math"])]
    assert main(given) == 1
    said = capsys.readouterr()
    lines = [line for line in said.err.splitlines() if line]
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert re.search(message, lines[0]), lines[0]
    assert not out.exists()


def test_the_installed_command_ends_with_status_1_and_no_traceback(tmp_path: Path) -> None:
    broken = tmp_path / "rows.jsonl"
    broken.write_text(json.dumps({"question": "1+1"}) + '\n{"questi')
    installed = Path(sys.executable).with_name("opdlm")
    paths = ["--rows", broken, "--responses", broken, "--out", tmp_path / "scores.json"]
    done = subprocess.run([installed, "score", "--kind", "math", *paths], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {broken}, line 2: not valid JSON")
    assert done.stderr.count("\n") == 1


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"opdlm {__version__}\n"


def test_help_does_not_wait_for_torch() -> None:
    check = (
        "import sys, opdlm.cli as c; c.parser().format_help()\nassert not {'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", check], check=True)
