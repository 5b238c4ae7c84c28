"""The one place where prompts are worded (spec 3.1, 6.1, 6.3 to 6.5, and 7.3).

The options of a multiple-choice question are part of the question, and so is all of LiveCodeBench's wording but the
system's turn.
"""

from opdlm.config.data import PromptKind
from opdlm.config.wording import PLAIN, Turn, Wording


def _user(text: str) -> list[Turn]:
    return [Turn(role="user", text=text)]


MATH = _user("{question}\nPlease reason step by step, and put your final answer within \\boxed{}.")
CHOICE = _user(
    '{question}\nPlease show your choice in the answer field with only the choice letter, e.g., "answer": "C".'
)
HUMANEVAL = [
    Turn(
        role="user",
        text="Please provide a self-contained Python script that solves the following problem in a markdown code "
        "block:\n```\n{stripped}\n```\n",
    ),
    Turn(
        role="assistant",
        text="Below is a Python script with a self-contained function that solves the problem and passes corresponding "
        "tests:\n```python\n",
    ),
]
LIVECODEBENCH = [
    Turn(
        role="system",
        text="You are an expert Python programmer. You will be given a question (problem specification) and will "
        "generate a correct Python program that matches the specification and passes all tests. You will NOT return "
        "anything except for the program.",
    ),
    *PLAIN.turns,
]
LIVEMATHBENCH = _user(
    "Here is a math question, please reasoning step by step, and put your answer in \\boxed{}.\n{question}\n"
)
LIVEMATHBENCH_CN = _user("下面是一个数学问题，请逐步推理，并把最终答案放置于\\boxed{}中。\n{question}\n")
STDIO = _user(
    "This is the problem:\n{question}\nYou should put your code in ```python ```. Use input() to read input and "
    "print() to produce output in your script. "
)

WORDINGS: dict[PromptKind, Wording] = {
    "raw": PLAIN,
    "math": Wording(turns=MATH),
    "choice": Wording(turns=CHOICE),
    "humaneval": Wording(turns=HUMANEVAL),
    "livecodebench": Wording(turns=LIVECODEBENCH),
    "livemathbench": Wording(turns=LIVEMATHBENCH, by_language={"cn": LIVEMATHBENCH_CN}),
    "stdio": Wording(turns=STDIO),
    # Training prompts: code and chat are put as they are, and a row without a domain is mathematics.
    "domain": Wording(turns=PLAIN.turns, by_domain={"math": MATH, "": MATH, "science": CHOICE}),
}
