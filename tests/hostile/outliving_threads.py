"""Leaves threads that never end and hold the streams open.

Verdict: wrong; as a script: timeout.
"""

import threading
import time


def forever():
    while True:
        time.sleep(0.01)


for _ in range(50):
    try:
        threading.Thread(target=forever).start()
    except RuntimeError:
        break


def f(x):
    return x
