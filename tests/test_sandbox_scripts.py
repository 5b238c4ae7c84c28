"""Scripts read and write as usual and reach nothing else; how each one ends is told."""

import pytest

from opdlm.evaluate.sandbox import run_stdio
from tests.test_sandbox import descendants, wait_until


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import os\nprint(sorted(os.environ))", "['HOME', 'LANG', 'OPENBLAS_NUM_THREADS', 'PATH']"),
        ("import os\nprint(sorted(os.listdir('/dev')), os.getpid(), os.getppid())", "['null', 'urandom'] 1 0"),
        ("print(open('/usr/x', 'w'))", ""),
        ("import os\nos.mkdir('/new')", ""),
        ("import numpy\nopen(numpy.__file__, 'a')\nprint('opened')", ""),
        ("import sys\nprint(sys.argv, sys.orig_argv)", "['solution.py'] ['solution.py']"),
        ("import os\nos.setuid(0)", ""),
        ("import socket\nsocket.create_connection(('127.0.0.1', 22), 1)", ""),
        ("import socket\nsocket.create_connection(('1.1.1.1', 80), 1)", ""),
        ("import ctypes\nprint(ctypes.CDLL(None).unshare(0x10000000))", "-1"),
        ("import ctypes\nprint(ctypes.CDLL(None).mount(b'x', b'/tmp', b'tmpfs', 0, None))", "-1"),
        ("with open('a', 'wb') as f:\n    for _ in range(64): f.write(bytes(1 << 20))\nprint('written')", ""),
        ("open('a', 'w').write('1')\nopen('/tmp/b', 'w').write('2')\nprint(open('a').read())", "1"),
        ("import os\nprint(os.listdir('.'), os.listdir('/tmp'))", "[] []"),
    ],
)
def test_a_script_sees_and_reaches_nothing(launcher, monkeypatch, code, expected):
    monkeypatch.setenv("CANARY_SECRET", "s3cret")
    assert run_stdio(launcher, code, b"", 5).stdout.decode().strip() == expected


def test_the_parent_s_files_cannot_be_read(launcher, tmp_path):
    canary = tmp_path / "canary.txt"
    canary.write_text("s3cret")
    read = f"for p in ({str(canary)!r}, {__file__!r}, '/etc/passwd', '/proc/1/environ'):\n"
    read += "    try: print(open(p).read())\n    except OSError: pass\n"
    assert run_stdio(launcher, read, b"", 5).stdout == b""


@pytest.mark.parametrize(
    ("code", "stdin", "stdout"),
    [
        ("print(int(input()) * 2)", "21\n", "42\n"),
        ("import sys\nprint(sys.stdin.buffer.read().decode().upper())", "abc", "ABC\n"),
        ("import sys\nprint(input(), [line.strip() for line in sys.stdin])", "a\nb\nc\n", "a ['b', 'c']\n"),
        ("print(open(0).read())", "x", "x\n"),
        ("import os\nos.write(1, os.read(0, 9))", "x", "x"),
        ("print('é' * (1 << 19), end='')", "", "é" * (1 << 19)),
        ("import sys\nsys.stdout.write(sys.stdin.read())", "y" * 3_000_000, "y" * 3_000_000),
        ("print(1)", "unread" * 100_000, "1\n"),
        ("import threading\nthreading.Thread(target=lambda: print(input())).start()", "late\n", "late\n"),
        ("import atexit\natexit.register(print, 'bye')\nif __name__ == '__main__': print('hi')", "", "hi\nbye\n"),
    ],
)
def test_scripts_read_and_write_as_usual(launcher, code, stdin, stdout):
    output = run_stdio(launcher, code, stdin.encode(), 5)
    assert (output.stdout.decode(), output.end) == (stdout, "ok")


@pytest.mark.parametrize(
    ("code", "end"),
    [
        ("print(1", "syntax_error"),
        ("print(1)\n1 / 0", "runtime_error"),
        ("exit(1)", "runtime_error"),
        ("exit(0)", "ok"),
        ("bytearray(1 << 40)", "memory"),
        ("while True: pass", "timeout"),
        ("import os\nos.close(1)\nwhile True: pass", "timeout"),
        ("while True: print('A' * 1000000)", "output_limit"),
        ("import signal\nsignal.signal(15, signal.SIG_IGN)\nwhile True: signal.pause()", "timeout"),
    ],
)
def test_the_end_of_a_script_is_told(launcher, code, end):
    assert run_stdio(launcher, code, b"", 1).end == end
    wait_until(lambda: not descendants(launcher._starter.pid))
