"""Where a program is enclosed otherwise than by namespaces of our own: by bubblewrap, or by `--unsafe` not at all."""

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from opdlm.errors import SandboxError
from opdlm.evaluate import launcher as launching
from opdlm.evaluate.launcher import Launcher
from opdlm.evaluate.sandbox import run_stdio, run_tests
from tests.test_sandbox import DOUBLE, EQUAL, FORGED, KILL, WITH_NUMPY, descendants, wait_until


def refuse(monkeypatch, *enclosures: str) -> None:
    """Let this machine seem to have none of these ways."""
    really = Launcher._trouble

    def trouble(launcher: Launcher) -> str:
        return "Operation not permitted" if launcher._enclosure in enclosures else really(launcher)

    monkeypatch.setattr(Launcher, "_trouble", trouble)


def test_without_a_safe_way_nothing_runs_and_the_message_says_what_to_install(monkeypatch):
    refuse(monkeypatch, "namespaces")
    monkeypatch.setattr(launching.shutil, "which", lambda name: None)
    with pytest.raises(SandboxError, match=r"not permitted.*install bubblewrap.*--unsafe"), Launcher():
        pass


def test_a_sandbox_that_ends_before_it_has_its_order_is_told_as_ended(monkeypatch):
    with Launcher() as launcher:
        monkeypatch.setattr(launcher, "_launch", lambda given: None)  # nobody takes the pipes
        with launcher.cell({"role": "nothing"}, [], 1) as cell:
            assert cell.ended(5) == 137


# Bubblewrap

STORM = "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass"
WRAPPED = {
    "def f(x): return 2 * x": ["correct"],
    "def f(x): return x": ["wrong"],
    "def f(x):\n    while True: pass": ["timeout"],
    "bytearray(1 << 40)": ["memory"],
    # What kills all it can may end its sandbox before it has answered or after.
    KILL + "def f(x): return 0": ["wrong", "runtime_error"],
    FORGED + "def f(x): return 0": ["wrong"],
}
IN_A_PROCESS = """
import json, sys
from opdlm.evaluate.launcher import Launcher
from opdlm.evaluate.sandbox import run_stdio, run_tests
really = Launcher._trouble
Launcher._trouble = lambda self: "refused" if self._enclosure == "namespaces" else really(self)
tests, programs = json.load(sys.stdin)
with Launcher() as launcher:
    reasons = [run_tests(launcher, code, tests, "f", 1).reason for code in programs]
    seen = run_stdio(launcher, "import os\\nprint(os.getuid(), os.path.exists('/etc'), os.listdir('/home'))", b"", 5)
    print(json.dumps([launcher._enclosure, launcher._user, seen.stdout.decode(), reasons]))
"""
needs_bubblewrap = pytest.mark.skipif(not launching.shutil.which("bwrap"), reason="bubblewrap is not installed")


@needs_bubblewrap
def test_bubblewrap_serves_where_namespaces_are_refused(monkeypatch):
    refuse(monkeypatch, "namespaces")
    with Launcher() as wrapped:
        assert wrapped._enclosure == "bubblewrap"
        for code, reasons in WRAPPED.items():
            assert run_tests(wrapped, code, DOUBLE, "f", 1).reason in reasons
        look = "import os\nprint(os.getuid(), os.path.exists('/etc'), os.path.exists('/proc'), os.listdir('/home'))"
        assert run_stdio(wrapped, look, b"", 5).stdout == b"65534 False False []\n"
        assert run_stdio(wrapped, "print(input())", b"in\n", 5).stdout == b"in\n"
        assert run_tests(wrapped, WITH_NUMPY, DOUBLE, "f", 10).reason == "correct"


@needs_bubblewrap
@pytest.mark.parametrize("root", [False, True], ids=["an_ordinary_user", "root_who_becomes_nobody"])
def test_bubblewrap_limits_the_processes_of(root):
    if root and os.geteuid() != 0:
        pytest.skip("needs root")
    python = open_python(root)
    if python is None:
        pytest.skip("there is no Python here that an ordinary user can start")
    given = json.dumps([DOUBLE, [*WRAPPED, STORM]])
    done = subprocess.run([*python, "-c", IN_A_PROCESS], input=given, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    enclosure, user, seen, reasons = json.loads(done.stdout)
    assert (enclosure, user, seen) == ("bubblewrap", 65534 if root else None, "65534 False []\n")
    for reason, expected in zip(reasons, [*WRAPPED.values(), ["timeout"]], strict=True):
        assert reason in expected


def open_python(root: bool) -> list[str] | None:
    """How to start a Python that everybody can read, with this one's packages; root's own may be in a closed folder."""
    if os.geteuid() != 0:
        return [sys.executable]
    drop = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    paths = [str(Path(__file__).parents[1]), *(path for path in sys.path if path.endswith("site-packages"))]
    for program in (os.path.realpath(sys.executable), f"/usr/bin/python3.{sys.version_info.minor}"):
        start = ["env", "-i", "PATH=/usr/bin:/bin", f"PYTHONPATH={os.pathsep.join(paths)}", program, "-B"]
        with contextlib.suppress(FileNotFoundError):
            if subprocess.run([*drop, *start, "-c", "import pydantic"], capture_output=True).returncode == 0:
                return start if root else [*drop, *start]
    return None


# Without a sandbox


@pytest.fixture
def bare(monkeypatch, capsys):
    refuse(monkeypatch, "namespaces", "bubblewrap")
    with Launcher(unsafe=True) as launcher:
        yield launcher


def test_where_there_is_a_safe_way_it_is_taken_all_the_same(capsys):
    with Launcher(unsafe=True) as launcher:
        assert launcher._enclosure != "none"
    assert "warning" not in capsys.readouterr().err


def test_a_warning_says_what_is_missing_and_what_programs_can_do(bare, capsys):
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert re.match(r"warning: .*WITHOUT A SANDBOX.*Namespaces are refused \(Operation not permitted\)", said)
    assert re.search(r"they can fill the machine's memory.*Use Linux 5\.12 or newer", said)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("def f(x): return 2 * x", "correct"),
        ("def f(x): return x", "wrong"),
        (EQUAL + "def f(x): return E()", "wrong"),
        (FORGED + "def f(x): return 0", "wrong"),
        ("import os\ndef f(x): os._exit(0)", "runtime_error"),
        ("bytearray(1 << 40)", "memory"),
        ("def f(x):\n    while True: pass", "timeout"),
        ("import signal\nsignal.signal(15, signal.SIG_IGN)\nwhile True: pass", "timeout"),
        ("import os\nos.fork()\nos.fork()\nwhile True: pass", "timeout"),
        ("import os\nif os.fork(): os._exit(0)\nif os.fork(): os._exit(0)\nwhile True: pass", "runtime_error"),
    ],
)
def test_without_a_sandbox_programs_get_their_verdict_and_a_runaway_is_killed(bare, code, reason):
    started = time.monotonic()
    assert run_tests(bare, code, DOUBLE, "f", 0.5 if reason == "timeout" else 5).reason == reason
    assert time.monotonic() - started < 12
    wait_until(lambda: not descendants(bare._starter.pid))


def test_without_a_sandbox_numpy_is_at_hand(bare):
    assert run_tests(bare, WITH_NUMPY, DOUBLE, "f", 10).reason == "correct"


def test_without_a_sandbox_a_script_has_a_folder_of_its_own_that_goes_with_it(bare, monkeypatch):
    monkeypatch.setenv("CANARY_SECRET", "s3cret")
    write = "import os\nopen('x', 'w').write(input())\nprint(os.getcwd(), os.listdir(), sorted(os.environ))"
    output = run_stdio(bare, write, b"1\n", 5)
    folder, seen = output.stdout.decode().strip().split(" ", 1)
    assert (output.end, seen) == ("ok", "['x'] ['HOME', 'LANG', 'OPENBLAS_NUM_THREADS', 'PATH']")
    wait_until(lambda: not Path(folder).parent.exists())


def test_without_a_sandbox_files_and_networks_are_out_of_reach_where_the_kernel_can_do_that(bare, tmp_path):
    if bare._lacking:
        pytest.skip("this kernel has no Landlock or no seccomp")
    (tmp_path / "canary").write_text("s3cret")
    code = f"""
import os, socket
for act in (
    lambda: print(open({str(tmp_path / "canary")!r}).read()),
    lambda: open({str(tmp_path / "new")!r}, "w"),
    lambda: os.remove({str(tmp_path / "canary")!r}),
    lambda: print(os.listdir("/proc/1")),
    lambda: socket.create_connection(("127.0.0.1", 22), 1),
    lambda: os.setsid(),
):
    try: act()
    except OSError: print("refused")
"""
    assert run_stdio(bare, code, b"", 5).stdout.decode().split() == ["refused"] * 6
    assert [path.name for path in tmp_path.iterdir()] == ["canary"]
