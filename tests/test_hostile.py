"""Hostile programs end with the verdict they deserve; nothing outside changes, and no process is left."""

import os
import re
import socket
from pathlib import Path

import pytest

from opdlm.evaluate.sandbox import run_calls, run_stdio, run_tests
from opdlm.evaluate.scorers.stdio import run_cases
from tests.test_sandbox import DOUBLE, descendants, wait_until

SHARED = sorted((Path(__file__).parents[2] / "shared" / "hostile").glob("*.py"))
PROGRAMS = sorted((Path(__file__).parent / "hostile").glob("*.py"))


def adapted(program: Path, home: Path) -> str:
    """The program, aimed at this test's own listeners and folder."""
    code = program.read_text().replace("\\0opdlm-listener", f"\\0opdlm-listener-{os.getpid()}")
    return re.sub(r'"?45871"?', os.environ["LPORT"], code).replace("/home/victim", str(home))


@pytest.fixture
def canaries(tmp_path, monkeypatch):
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    files = {home / name: name for name in ("canary.txt", ".ssh/id_rsa", "results.json")}
    for path, content in files.items():
        path.write_text(content)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("CANARY_SECRET", "s3cret")
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.socket(socket.AF_UNIX) as abstract,
    ):
        monkeypatch.setenv("LPORT", str(listener.getsockname()[1]))
        abstract.bind(f"\0opdlm-listener-{os.getpid()}")
        abstract.listen()
        listener.setblocking(False)
        yield home
        with pytest.raises(BlockingIOError):
            listener.accept()
    assert {path: path.read_text() for path in files} == files
    assert {path.name for path in home.iterdir()} == {"canary.txt", ".ssh", "results.json"}


@pytest.mark.skipif(not SHARED, reason="the hostile programs are not here")
@pytest.mark.parametrize("program", SHARED, ids=lambda path: path.stem)
def test_hostile_programs_neither_pass_nor_do_harm(launcher, canaries, program):
    code = adapted(program, canaries)
    assert run_tests(launcher, code, DOUBLE, "f", 0.5).reason != "correct"
    wait_until(lambda: not descendants(launcher._starter.pid))
    if "KIND: both" in code:
        output = run_stdio(launcher, code, b"21\n", 0.5, max_output=1 << 20)
        assert output.stdout.split() != [b"42"]
        assert b"s3cret" not in output.stdout
        assert len(output.stdout) <= 1 << 20
        wait_until(lambda: not descendants(launcher._starter.pid))


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.stem)
def test_hostile_programs_get_the_verdict_in_their_header(launcher, canaries, program):
    code = adapted(program, canaries)
    called, as_script = re.search(r"Verdict: (\w+); as a script: (\w+)\.", code).groups()
    seconds = 0.5 if "timeout" in (called, as_script) else 5
    assert run_tests(launcher, code, DOUBLE, "f", seconds).reason == called
    assert run_calls(launcher, code, [("3", "6"), ("-1", "-2")], "f", seconds).reason == called
    assert run_cases(launcher, code, [("21\n", "42\n")], seconds).reason == as_script
    output = run_stdio(launcher, code, b"21\n", seconds).stdout
    assert not any(secret in output for secret in (b"s3cret", b"out\n", b"root:", str(Path.cwd()).encode()))
    wait_until(lambda: not descendants(launcher._starter.pid))


def test_the_next_program_sees_nothing_of_the_last_one(launcher):
    leave = (
        "import builtins, json, os, sys\nbuiltins.left = json.left = sys.left = 1\n"
        "open('left', 'w').close()\nopen('/tmp/left', 'w').close()\nos.environ['left'] = '1'\n"
    )
    look = (
        "import builtins, json, os, sys\n"
        "print(any(hasattr(place, 'left') for place in (builtins, json, sys)), 'left' in os.environ,\n"
        "      os.listdir('.'), os.listdir('/tmp'))"
    )
    for _ in range(2):
        assert run_stdio(launcher, leave, b"", 5).end == "ok"
        assert run_stdio(launcher, look, b"", 5).stdout == b"False False [] []\n"
