"""Stops its own process and its children instead of ending, so that whoever waits waits for ever.

Verdict: timeout; as a script: timeout.
"""

import os
import signal

if os.fork() == 0:
    os.kill(os.getpid(), signal.SIGSTOP)
while True:
    os.kill(os.getpid(), signal.SIGSTOP)
    signal.pause()
