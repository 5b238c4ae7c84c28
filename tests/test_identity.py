"""A stage's identity changes with the code that it runs, and with nothing else."""

from pathlib import Path

import pytest

from opdlm import identity
from opdlm.config.decoding import DecodingSettings

SCRIPT = '"""Script."""\nfrom opdlm.near import f\n\n\ndef main():\n    """Doc."""\n    return f(1)\n'
NEAR = "from opdlm import far\n\n\ndef f(x):\n    return far.g(x)\n"
FAR = "def g(x):\n    return x + 1\n"
UNUSED = "y = 1\n"


@pytest.fixture
def hashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Hash of the script in a package with the given sources; each call builds a package of its own."""
    count = 0

    def build(script: str = SCRIPT, near: str = NEAR, far: str = FAR, unused: str = UNUSED) -> str:
        nonlocal count
        count += 1
        package = tmp_path / str(count) / "opdlm"
        package.mkdir(parents=True)
        for name, text in {"__init__": "", "near": near, "far": far, "unused": unused}.items():
            (package / f"{name}.py").write_text(text)
        file = package.parent / "script.py"
        file.write_text(script)
        monkeypatch.setattr(identity, "PACKAGE_ROOT", package)
        return identity.code_hash(file)

    return build


def test_comments_docstrings_and_layout_do_not_count(hashed) -> None:
    assert hashed(script="# why\n" + SCRIPT) == hashed()
    assert hashed(script=SCRIPT.replace("Doc.", "Another\n    text.")) == hashed()
    assert hashed(script=SCRIPT.replace("f(1)", "f( 1 )  # one")) == hashed()
    assert hashed(far=FAR.replace("    return", '    """Added."""\n\n    return')) == hashed()


def test_real_edits_count_also_in_modules_reached_through_others(hashed) -> None:
    versions = {
        hashed(),
        hashed(script=SCRIPT.replace("f(1)", "f(2)")),
        hashed(near=NEAR.replace("far.g(x)", "-far.g(x)")),
        hashed(far=FAR.replace("+ 1", "+ 2")),
    }
    assert len(versions) == 4


def test_modules_that_are_not_imported_do_not_count(hashed) -> None:
    assert hashed(unused="y = 2\n") == hashed()


def test_stage_scripts_reach_the_code_they_run() -> None:
    scripts = Path(__file__).parents[1] / "workflow_scripts"

    def reached(script: str) -> set[str]:
        return {
            str(file.relative_to(identity.PACKAGE_ROOT))
            for file in identity.reached_files(scripts / script)
            if file.is_relative_to(identity.PACKAGE_ROOT)
        }

    assert {"distill/loop.py", "decode/engine.py", "model/qwen3.py", "blocks.py"} <= reached("train.py")
    assert {"decode/engine.py", "model/qwen3.py"} <= reached("generate.py")
    assert not any(file.startswith("distill/") for file in reached("generate.py"))
    assert not any(file.startswith(("decode/", "model/", "distill/")) for file in reached("score.py"))


def test_settings_text_is_canonical() -> None:
    first = DecodingSettings(strategy="static", top_k=3)
    second = DecodingSettings(top_k=3, strategy="static", temperature=0.0)
    assert identity.canonical_json(first) == identity.canonical_json(second)
    assert identity.settings_hash(first) != identity.settings_hash(DecodingSettings(strategy="static"))


@pytest.mark.parametrize("script", ["train.py", "generate.py", "convert.py", "fetch_teacher.py"])
def test_what_trains_and_answers_does_not_depend_on_what_judges_and_words(script: str) -> None:
    """A new scorer, reason or wording must neither train a model nor write an answer again."""
    root = Path(__file__).parents[1]
    reached = {str(file.relative_to(root)) for file in identity.reached_files(root / "workflow_scripts" / script)}
    apart = {"opdlm/verdicts.py", *(f"opdlm/config/{name}.py" for name in ("data", "evaluation", "prompts"))}
    assert not reached & apart


def test_scoring_depends_on_what_it_starts_by_name() -> None:
    root = Path(__file__).parents[1]
    reached = {str(file.relative_to(root)) for file in identity.reached_files(root / "workflow_scripts" / "score.py")}
    assert {"opdlm/evaluate/scorers/math_worker.py", "opdlm/evaluate/inside/__main__.py"} <= reached
