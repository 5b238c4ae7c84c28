"""Returns values whose comparison, hash and printing never come back.

Verdict: wrong; as a script: wrong.
"""


class Endless(int):
    def __eq__(self, other):
        return self == other

    def __hash__(self):
        return hash(self)

    def __repr__(self):
        return repr(self)

    def __bool__(self):
        while True:
            pass


def f(x):
    return [{Endless.__new__(Endless, 2 * x): 1}] if x == 99 else Endless(2 * x)
