"""Push of a model folder to the Hugging Face hub, with a model card if the folder has none."""

import tempfile
from pathlib import Path

from huggingface_hub import HfApi

from opdlm import __version__
from opdlm.errors import CheckpointError
from opdlm.model.card import card
from opdlm.model.checkpoint import Hub, load_model, load_tokenizer
from opdlm.model.readme import CARD_FILE

HUGGING_FACE = Hub()


def push(folder: Path, repo: str, private: bool = False, revision: str | None = None, hub: Hub = HUGGING_FACE) -> str:
    """Upload a model folder; what the hub has already is not sent again.

    Args:
        folder: a model folder. Nothing in it is changed.
        repo: `user/name`, made if the hub has none.
        private: make it a private one; one that exists stays what it is.
        revision: branch, made if there is none; `main` if not given.
        hub: where to. The token is the one that `hf auth login` has saved.

    Returns:
        the address of the commit.

    Raises:
        CheckpointError: the folder is not a complete model, or the hub does not take it.
        DataError: what the card is made of is truncated or corrupt.
    """
    folder = Path(folder)
    model, tokenizer = load_model(folder), load_tokenizer(folder)
    with tempfile.TemporaryDirectory() as name:
        # Links to the files, so that the card is in the same commit without being written into the folder.
        staged = Path(name)
        for file in folder.iterdir():
            if file.is_file() and not file.name.startswith("."):  # as Snakemake's time stamps
                (staged / file.name).symlink_to(file.resolve())
        if not (folder / CARD_FILE).exists():
            (staged / CARD_FILE).write_text(card(folder, repo, model, tokenizer), encoding="utf-8")
        return upload(staged, repo, private, revision, hub, message=f"{folder.name}, by opdlm {__version__}")


def upload(folder: Path, repo: str, private: bool, revision: str | None, hub: Hub, message: str) -> str:
    """Put the files of a folder on the hub; see `push`."""
    api = HfApi(endpoint=hub.endpoint)
    try:
        api.create_repo(repo, private=private or None, exist_ok=True)  # none: the account's default
        if revision not in (None, "main"):
            api.create_branch(repo, branch=revision, exist_ok=True)
        return api.upload_folder(repo_id=repo, folder_path=folder, revision=revision, commit_message=message).commit_url
    except Exception as error:  # the transport's own errors come through, and its library changes with the hub's
        raise CheckpointError(f"cannot push to {repo} at {api.endpoint}: {explained(error)}") from error


def explained(error: Exception) -> str:
    """Why the hub did not take it, in one line."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403):
        return f"you may not write there (status {status}): log in with `hf auth login`, with a token that may"
    return " ".join(str(error).split()) or type(error).__name__
