"""Two ranks that are killed, or stopped by a signal, and started again end as undisturbed ones, bit for bit.

One rank strikes at a chosen moment, itself or the launcher; what it does not strike has to end of itself.
"""

import json
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from opdlm.distill import checkpoint
from opdlm.identity import canonical_json
from opdlm.model.checkpoint import read_weights
from tests.family import Family, assert_same_result, run, small_stage
from tests.strikes import TRAINER, Strike

ROOT = Path(__file__).parents[1]
STAGE = small_stage(rollouts=4, prompts_per_rollout=8, batch_size=4, micro_batch_tokens=1, save_every=1)
"""Two updates a rollout, and in each of them two packs on each of two ranks."""

pytestmark = pytest.mark.slow


class Pair:
    """A training by the real script and the real launcher on two ranks."""

    def __init__(self, family: Family, folder: Path) -> None:
        self.state, self.out = folder / "state", folder / "out"
        self.script = [str(ROOT / "workflow_scripts" / "train.py"), "--settings", canonical_json(STAGE)]
        self.script += ["--teacher", str(family.teacher), "--student", str(family.student)]
        self.script += ["--prompts", str(family.prompts), "--state", str(self.state), "--out", str(self.out)]
        self.script += ["--device", "cpu", "--processes", "2"]

    def finish(self) -> None:
        """Run to the end, undisturbed."""
        self._launch(self.script).check_returncode()

    def interrupt(self, rank: int, strike: Strike) -> subprocess.CompletedProcess[str]:
        """Run until a rank strikes and all processes are gone."""
        ended = self._launch(["--module", "tests.struck_rank", str(rank), json.dumps(asdict(strike)), *self.script])
        assert ended.returncode != 0, f"no strike: {strike}"
        assert not self.out.exists()
        return ended

    def _launch(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        """Wait for the launcher, and then for its ranks: the pipes are open as long as one of them lives."""
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        return subprocess.run([*launcher, *command], cwd=ROOT, capture_output=True, text=True, timeout=100)

    def saved(self) -> list[str]:
        """Checkpoints by their rollout, with a dot before it if they are not finished."""
        return sorted(path.name.partition("-update")[0] for path in self.state.glob("*rollout-*"))

    def updates(self) -> tuple[int, int]:
        """Updates in the newest checkpoint and in the metrics."""
        found = checkpoint.load_latest(self.state)
        assert found is not None
        return found[0].updates, (self.state / "metrics.jsonl").read_text().count('"kind": "update"')


@pytest.fixture(scope="module")
def undisturbed(family: Family, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run comes to."""
    pair = Pair(family, tmp_path_factory.mktemp("pair"))
    pair.finish()
    return pair.out


@pytest.fixture
def pair(family: Family, tmp_path: Path) -> Pair:
    return Pair(family, tmp_path)


def test_two_ranks_come_to_what_one_does(undisturbed: Path, family: Family, tmp_path: Path) -> None:
    alone, together = read_weights(run(family, STAGE, tmp_path)), read_weights(undisturbed)
    for name, tensor in alone.items():
        torch.testing.assert_close(together[name], tensor, atol=1e-5, rtol=0)


def test_kills_in_every_phase_change_nothing(pair: Pair, undisturbed: Path) -> None:
    def kill(rank: int, owner: str, name: str, call: int, at_launcher: bool = False) -> list[str]:
        ended = pair.interrupt(rank, Strike(signal.SIGKILL, owner, name, call, at_launcher))
        assert (ended.returncode == -signal.SIGKILL) == at_launcher
        return pair.saved()

    one, two, three = "rollout-000001", "rollout-000002", "rollout-000003"
    assert kill(1, TRAINER, "write_answers", 2) == [one]
    assert kill(1, TRAINER, "loss", 2) == [one], "between two packs of an update"
    assert kill(0, "torch.optim:AdamW", "step", 2) == [one], "gradients summed, weights not updated"
    assert kill(0, "torch", "save", 1) == [f".{two}", one], "a checkpoint half written"
    assert kill(0, "shutil", "rmtree", 2) == [one, two, three], "a checkpoint written, the oldest not removed"
    assert kill(1, TRAINER, "loss", 2, at_launcher=True) == [one, two, three], "all at once"
    pair.finish()
    assert_same_result(undisturbed, pair.out)
    assert not list(pair.state.glob(".*"))


def test_sigterm_to_the_launcher_loses_nothing_but_the_current_update(pair: Pair, undisturbed: Path) -> None:
    ended = pair.interrupt(1, Strike(signal.SIGTERM, TRAINER, "loss", 4, at_launcher=True))
    assert "stopped by SIGTERM after 1 of 4 rollouts and 2 updates, all saved; rerun the same command" in ended.stderr
    assert pair.updates() == (2, 2)
    pair.finish()
    assert_same_result(undisturbed, pair.out)
