"""The console command `opdlm`: reads arguments, calls one function, which writes one file or folder.

Each command imports what it needs, so that `opdlm --help` does not wait for torch.
"""

import argparse
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import ValidationError

from opdlm import __version__
from opdlm.config.answers import GenerateStage
from opdlm.config.base import Strict, explained
from opdlm.config.data import PromptKind
from opdlm.config.decoding import DecodingSettings, Strategy
from opdlm.config.evaluation import ScorerKind, ScoreStage
from opdlm.config.layout import Layout
from opdlm.config.models import ConvertSettings
from opdlm.config.prompts import WORDINGS
from opdlm.config.registry import registered
from opdlm.errors import OpdlmError, SettingsError
from opdlm.files import alone

S = TypeVar("S", bound=Strict)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit status. A foreseen error is one line on stderr and status 1."""
    given = parser().parse_args(arguments)
    try:
        given.run(given)
    except OpdlmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def parser() -> argparse.ArgumentParser:
    """The parser of all commands; `run` of a parsed namespace is the command's function."""
    top = argparse.ArgumentParser(prog="opdlm", description="On-policy distillation of block-diffusion models.")
    top.add_argument("--version", action="version", version=f"opdlm {__version__}")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    _add_convert(commands)
    _add_generate(commands)
    _add_score(commands)
    _add_chat(commands)
    _add_export(commands)
    _add_push(commands)
    return top


def _command(commands: Any, name: str, text: str, run: Callable[[argparse.Namespace], None]) -> argparse.ArgumentParser:
    # No abbreviations: the wording was once called `--prompt`, which would be taken for `--prompts`.
    command: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
    command.set_defaults(run=run)
    return command


def _add_convert(commands: Any) -> None:
    text = "turn an autoregressive Qwen3 into a block-diffusion initialisation"
    command = _command(commands, "convert", text, _convert)
    command.add_argument("source", metavar="SRC", help="a model folder, or the id of a model on the hub")
    command.add_argument("out", metavar="DST", type=Path, help="the folder to write")
    defaults = ConvertSettings()
    command.add_argument("--block-size", type=int, default=defaults.block_size, help="default: %(default)s")
    command.add_argument(
        "--mask-init",
        choices=["keep", "mean"],
        default=defaults.mask_init,
        help="embedding of the mask token: as in the checkpoint (default), or the mean row",
    )
    command.add_argument("--revision", help="branch, tag or commit on the hub; default: main")


def _convert(given: argparse.Namespace) -> None:
    settings = _settings(ConvertSettings, block_size=given.block_size, mask_init=given.mask_init)
    from opdlm.model.checkpoint import local_folder
    from opdlm.model.convert import convert

    convert(local_folder(given.source, given.revision), given.out, settings)


def _add_generate(commands: Any) -> None:
    text = "answer the questions of a file; each answer is kept at once, and a stopped run goes on with the rest"
    command = _command(commands, "generate", text, _generate)
    for name, what in {"model": "model folder", "prompts": "questions, JSON lines", "out": "file to write"}.items():
        command.add_argument(f"--{name}", type=Path, required=True, help=what)
    command.add_argument("--strategy", choices=get_args(Strategy), required=True)
    _add_decoding_options(command)
    command.add_argument("--max-tokens", type=int, default=512, help="longest answer; default: %(default)s")
    command.add_argument("--wording", choices=get_args(PromptKind), default="raw", help="default: %(default)s")
    command.add_argument("--thinking", action="store_true", help="let the model think before it answers")
    command.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    command.add_argument("--device", help="default: cuda if there is one, else cpu")


def _generate(given: argparse.Namespace) -> None:
    stage = _settings(
        GenerateStage,
        prompt=WORDINGS[given.wording],
        max_tokens=given.max_tokens,
        thinking=given.thinking,
        decoding=_decoding(given),
        seed=given.seed,
        shard=0,
        shards=1,
    )
    import torch

    from opdlm.evaluate.generate import generate_shard

    device = given.device or ("cuda" if torch.cuda.is_available() else "cpu")
    kept = given.out.with_name(f".{given.out.name}.kept")
    with alone(given.out):
        try:
            generate_shard(stage, given.model, given.prompts, given.out, kept, device)
        except BaseException:
            if not any(file.stat().st_size for file in kept.rglob("*.jsonl")):
                shutil.rmtree(kept, ignore_errors=True)
            raise
        shutil.rmtree(kept)


def _add_score(commands: Any) -> None:
    text = "judge answers: those that `opdlm generate` wrote, or lines of {index: row, response: text}"
    command = _command(commands, "score", text, _score)
    how = command.add_mutually_exclusive_group(required=True)
    how.add_argument("--benchmark", metavar="NAME", help="judge as this benchmark of the registry is judged")
    how.add_argument("--kind", choices=get_args(ScorerKind), help="or say what kind of answer to look for")
    text = "questions with their true answers or tests; our JSON lines, or the published JSON list; "
    text += "default: the benchmark's rows as the workflow prepares them"
    command.add_argument("--rows", type=Path, help=text)
    command.add_argument("--responses", type=Path, required=True, help="answers to judge, JSON lines")
    command.add_argument("--out", type=Path, required=True, help="file to write")
    text = "configuration with the benchmark; default: %(default)s"
    command.add_argument("--registry", type=Path, default=Path("config/benchmarks.yaml"), help=text)
    text = "where there is no sandbox, run programs without one; they can do whatever you can do"
    command.add_argument("--unsafe", action="store_true", help=text)


def _score(given: argparse.Namespace) -> None:
    rows, scorer = given.rows, given.kind
    if given.benchmark:
        scorer = registered(given.registry, given.benchmark).scorer
        rows = rows or Path(Layout("results").benchmark(given.benchmark))
    if rows is None:
        raise SettingsError("--kind needs --rows: the questions that the answers belong to")
    from opdlm.evaluate.responses import score_file

    with alone(given.out):
        score_file(_settings(ScoreStage, scorer=scorer), rows, given.responses, given.out, given.unsafe)


def _add_chat(commands: Any) -> None:
    text = "talk with a model in the terminal, its blocks shown as they unmask; an empty line ends"
    command = _command(commands, "chat", text, _chat)
    command.add_argument("--model", type=Path, required=True, help="model folder")
    command.add_argument("--strategy", choices=get_args(Strategy), default="dynamic", help="default: %(default)s")
    _add_decoding_options(command)
    command.add_argument("--max-tokens", type=int, default=512, help="longest answer; default: %(default)s")
    command.add_argument("--thinking", action="store_true", help="let the model think before it answers")


def _chat(given: argparse.Namespace) -> None:
    decoding = _decoding(given)
    from opdlm.terminal import chat

    chat(given.model, decoding, given.max_tokens, given.thinking, lambda: input("> "), sys.stdout)


def _add_export(commands: Any) -> None:
    text = "write a block-diffusion model in the layout that SGLang and LMDeploy serve"
    command = _command(commands, "export", text, _export)
    command.add_argument("model", metavar="MODEL_DIR", type=Path, help="a model folder")
    command.add_argument("out", metavar="OUT_DIR", type=Path, help="the folder to write; it must be new or empty")
    command.add_argument("--layout", choices=["sdar"], default="sdar", help="default: %(default)s")


def _export(given: argparse.Namespace) -> None:
    from opdlm.model.export import export_sdar

    export_sdar(given.model, given.out)


def _add_push(commands: Any) -> None:
    text = "upload a model folder to the Hugging Face hub, with a model card if it has no README.md"
    command = _command(commands, "push", text, _push)
    command.add_argument("model", metavar="MODEL_DIR", type=Path, help="a model folder")
    command.add_argument("repo", metavar="REPO_ID", help="user/name on the hub, made if it does not exist")
    command.add_argument("--private", action="store_true", help="make it a private one")
    command.add_argument("--revision", metavar="BRANCH", help="made if it does not exist; default: main")


def _push(given: argparse.Namespace) -> None:
    from opdlm.model.push import push

    print(push(given.model, given.repo, given.private, given.revision))


def _add_decoding_options(command: argparse.ArgumentParser) -> None:
    for name, field in DecodingSettings.model_fields.items():
        if name != "strategy":
            option = f"--{name.replace('_', '-')}"
            command.add_argument(option, type=type(field.default), default=field.default, help="default: %(default)s")


def _decoding(given: argparse.Namespace) -> DecodingSettings:
    return _settings(DecodingSettings, **{name: getattr(given, name) for name in DecodingSettings.model_fields})


def _settings(model: type[S], **values: Any) -> S:
    try:
        return model(**values)
    except ValidationError as error:
        raise SettingsError(explained(error, values)) from None


if __name__ == "__main__":
    sys.exit(main())
