"""The one place where prompts are worded (spec 3.1, 6.1, 6.3 to 6.5, and 7.3)."""

from opdlm.chat import Message
from opdlm.config.data import PromptKind
from opdlm.data.rows import Row

MATH = "\nPlease reason step by step, and put your final answer within \\boxed{}."
CHOICE = '\nPlease show your choice in the answer field with only the choice letter, e.g., "answer": "C".'
HUMANEVAL_USER = (
    "Please provide a self-contained Python script that solves the following problem in a markdown code block:"
)
HUMANEVAL_ASSISTANT = (
    "Below is a Python script with a self-contained function that solves the problem and passes corresponding tests:"
)
LIVECODEBENCH_SYSTEM = (
    "You are an expert Python programmer. You will be given a question (problem specification) and will generate a "
    "correct Python program that matches the specification and passes all tests. You will NOT return anything except "
    "for the program."
)
LIVECODEBENCH_STARTER = (
    "You will use the following starter code to write the solution to the problem and enclose your code within "
    "delimiters."
)
LIVECODEBENCH_STDIN = (
    "Read the inputs from stdin solve the problem and write the answer to stdout (do not directly test on the sample "
    "inputs). Enclose your code within delimiters as follows."
)
LIVEMATHBENCH_EN = (
    "Here is a math question, please reasoning step by step, and put your answer in \\boxed{{}}.\n{question}\n"
)
LIVEMATHBENCH_CN = "下面是一个数学问题，请逐步推理，并把最终答案放置于\\boxed{{}}中。\n{question}\n"
STDIO = (
    "This is the problem:\n{question}\nYou should put your code in ```python ```. Use input() to read input and "
    "print() to produce output in your script. "
)
BY_DOMAIN: dict[str, PromptKind] = {"math": "math", "science": "choice"}
"""Wording of training prompts; code and chat are put as they are, and a row without a domain is mathematics."""


def messages(row: Row, kind: PromptKind) -> list[Message]:
    """The chat turns that put a row's question.

    With `humaneval` the last turn is the assistant's: a prefill that ends inside an opened code fence, for the model
    to go on from. With `domain` the row's own domain decides. The options of a multiple-choice question are part of the
    question, and so is all of LiveCodeBench's wording but the system's turn (`livecodebench_question`).
    """
    if kind == "domain":
        kind = BY_DOMAIN.get(row.domain or "math", "raw")
    if kind == "humaneval":
        return [
            Message(role="user", content=f"{HUMANEVAL_USER}\n```\n{row.question.strip()}\n```\n"),
            Message(role="assistant", content=f"{HUMANEVAL_ASSISTANT}\n```python\n"),
        ]
    if kind == "livecodebench":
        return [
            Message(role="system", content=LIVECODEBENCH_SYSTEM),
            Message(role="user", content=row.question),
        ]
    if kind == "livemathbench":
        wording = LIVEMATHBENCH_CN if (row.subdivision or "").endswith("cn") else LIVEMATHBENCH_EN
        return [Message(role="user", content=wording.format(question=row.question))]
    if kind == "stdio":
        return [Message(role="user", content=STDIO.format(question=row.question))]
    endings: dict[PromptKind, str] = {"raw": "", "math": MATH, "choice": CHOICE}
    return [Message(role="user", content=row.question + endings[kind])]


def livecodebench_question(problem: str, starter_code: str) -> str:
    """A problem of LiveCodeBench, worded as in its published rows."""
    message, code = (LIVECODEBENCH_STARTER, starter_code) if starter_code else (LIVECODEBENCH_STDIN, "# YOUR CODE HERE")
    return (
        f"### Question:\n{problem}\n\n### Format: {message}\n```python\n{code}\n```\n\n"
        "### Answer: (use the provided format with backticks)\n\n"
    )
