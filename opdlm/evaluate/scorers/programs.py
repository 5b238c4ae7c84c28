"""The program that an answer means, among prose, drafts, examples and fences."""

import ast
import re
import sys

from opdlm.chat import THINK_END
from opdlm.data.rows import Row
from opdlm.evaluate.scorers import published_code

FENCE = re.compile(r"^[ \t]*```[ \t]*([\w+-]*)[^\n]*$", re.MULTILINE)
FENCE_AFTER_WORDS = re.compile(r"^([^`\n]*[^`\s])[ \t]*(```[ \t]*(?:python3?|py)[ \t]*)$", re.MULTILINE | re.IGNORECASE)
"""`Here is the program: ```python`"""
UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError)
"""What `ast` and `compile` raise for a text that is no program."""
PATIENCE = 100
"""How often the parser is asked where Python ends, for an answer may be long and nothing of it a program."""


def program(row: Row, text: str) -> str | None:
    """The program that an answer means, or none.

    As the published harness reads an answer (`extract`), but without thinking that was left in it, with fences that
    begin behind words, and with the last of several scripts. HumanEval and MBPP are read as EvalPlus does: the longest
    part that is Python and defines the function, of which only definitions have to work. So prose, an unfinished test,
    a false assert of the model's own, examples that want input and an `exit()` do no harm. If no text defines the
    function, but one is indented like its body, that is put under the question, as in completions.
    """
    text = FENCE_AFTER_WORDS.sub(r"\1\n\2", text.rpartition(THINK_END)[2])
    if row.test_method != "function":
        found = extract(text, row.entry_point, last=True)
        return text if found is None and row.test_method == "stdio" and _is_script(text) else found
    if not row.entry_point:
        return extract(text, None)
    blocks = [block for _, block in _blocks(text, row.entry_point)]
    if not any(_defines(block, row.entry_point) for block in blocks):
        return _completed(row.question, row.entry_point, [text.partition("```")[0], *blocks]) or extract(text, None)
    is_evalplus = (row.task_id or "").startswith(published_code.EVALPLUS)
    if not is_evalplus and FENCE.search(text):
        return extract(text, row.entry_point)
    runs = [run for block in blocks if (run := longest_run(block, row.entry_point))]
    if not runs:
        return extract(text, row.entry_point)
    longest = max(runs, key=_filled_lines)
    return definitions(longest) if is_evalplus else longest


def _completed(question: str, entry_point: str, texts: list[str]) -> str | None:
    """A question that ends in the head of the function, and under it the first text that is indented."""
    body = next((text for text in texts if re.match(r"\s*^[ \t]+\S", text, re.MULTILINE)), None)
    if body is None or not _defines(question, entry_point):
        return None
    head = question.rstrip()
    whole = longest_run(f"{head}\n{body}", entry_point)
    return whole if whole and _filled_lines(whole) > _filled_lines(head) else None


def longest_run(text: str, entry_point: str) -> str | None:
    """The longest run of lines of a text that is Python and defines the entry point, or none.

    Runs begin anywhere, and after `PATIENCE` of them only where the entry point is defined.
    """
    lines, start = text.split("\n"), 0
    runs: list[str] = []
    defining = [number for number, line in enumerate(lines) if _defines(line, entry_point)]
    while defining and start <= defining[-1]:
        if len(runs) > PATIENCE:
            start = next(number for number in defining if number >= start)
        end = _end_of_python(lines, start)
        runs.append("\n".join(lines[start:end]))
        start = max(end, start + 1)
    return max((run for run in runs if _defines(run, entry_point)), key=_filled_lines, default=None)


def _end_of_python(lines: list[str], start: int) -> int:
    """The line before which Python that begins at line `start` ends, told by where the parser stumbles."""
    end = len(lines)
    for _ in range(PATIENCE):
        try:
            ast.parse("\n".join(lines[start:end]))
            return end
        except SyntaxError as error:
            end = max(min(end - 1, start + (error.lineno or 1) - 1), start)
        except UNREADABLE:
            break
    return start


def _filled_lines(text: str) -> int:
    return sum(1 for line in text.split("\n") if line.strip())


def _is_script(text: str) -> bool:
    """Whether a text without a fence, a function and an import is a program all the same: it is Python that calls."""
    try:
        return any(isinstance(node, ast.Call) for node in ast.walk(ast.parse(text)))
    except UNREADABLE:
        return False


def definitions(code: str) -> str:
    """A program whose statements, but for definitions, may fail.

    EvalPlus keeps imports and what the function needs of definitions and assignments. Here the other statements are
    kept too, for a function may need them, but for those that cannot matter to it and may take for ever.
    """
    statements = ast.parse(code).body
    if all(map(_cannot_fail, statements)):
        return code
    kept = [
        statement if _cannot_fail(statement) else _tried(statement) for statement in statements if _matters(statement)
    ]
    try:
        return ast.unparse(ast.fix_missing_locations(ast.Module(kept, [])))
    except RecursionError:  # an expression of a thousand terms
        return code


def _cannot_fail(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Import):
        return all(name.name.split(".")[0] in sys.stdlib_module_names for name in statement.names)
    if isinstance(statement, ast.ImportFrom):
        return (statement.module or "").split(".")[0] in sys.stdlib_module_names
    if isinstance(statement, ast.Expr | ast.Assign):
        return not any(isinstance(node, ast.Call | ast.Name) for node in ast.walk(statement.value))
    if isinstance(statement, ast.ClassDef):
        return not statement.bases and not statement.decorator_list
    return isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef) and not statement.decorator_list


def _matters(statement: ast.stmt) -> bool:
    """Not so for asserts, endless loops, and calls like `print(f(1))` or `main()`."""
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
        return not isinstance(statement.value.func, ast.Name)
    return not isinstance(statement, ast.Assert | ast.While)


def _tried(statement: ast.stmt) -> ast.stmt:
    handler = ast.ExceptHandler(ast.Name("BaseException", ast.Load()), None, [ast.Pass()])
    return ast.Try([statement], [handler], [], [])


def extract(text: str, entry_point: str | None, last: bool = False) -> str | None:
    """The program in an answer as the published harness reads it, or none.

    It is a block that defines the entry point (as a function, a class, or a method of a class), else it is made of the
    Python blocks, else of all blocks. A text that goes on from a fence opened by the prompt (spec 6.3) starts with a
    block that only ends.

    For rows with Python tests it is the first of several such blocks, and where none defines the entry point, all of
    them (spec 6.2). With `last`, for scripts and LiveCodeBench, it is the last one: an answer ends with the program it
    means, and two scripts in a row are none. LiveCodeBench takes what stands between the last two lines with a fence.
    That is the same but for the ends of answers where its rule finds prose or nothing: a last block that was not
    closed, a sample of the output after the program, and a program without any fence.
    """
    blocks = _blocks(text, entry_point)
    if entry_point:
        defining = [block for _, block in blocks if _defines(block, entry_point)]
        if defining:
            return defining[-1 if last else 0]
    python = [block for language, block in blocks if language in ("python", "python3", "py")]
    chosen = python or [block for _, block in blocks]
    return "\n\n".join(chosen[-1:] if last else chosen) or None


def _blocks(text: str, entry_point: str | None) -> list[tuple[str, str]]:
    """Language and content of each fenced block; a block that is never closed goes to the end of the text."""
    fences = list(FENCE.finditer(text))
    head = text[: fences[0].start()] if fences else text
    inside = not (fences and fences[0][1]) and _is_code(head, entry_point)
    blocks, language, position = [], "python", 0
    for fence in [*fences, None]:
        if inside:
            blocks.append((language, text[position : fence.start() if fence else len(text)].strip("\n")))
        if fence:
            language, position = fence[1].lower(), fence.end()
            inside = not inside or bool(language)  # a fence with a language never closes
    return [(language, block) for language, block in blocks if block.strip()]


def _defines(block: str, entry_point: str) -> bool:
    name = re.escape(entry_point)
    defined = rf"^(?:(?:async )?(?:def|class) +{name}\b|{name} *=)"
    if "class Solution" in block:
        defined += rf"|^[ \t]+def +{name}\b"
    return bool(re.search(defined, block, re.MULTILINE))


def _is_code(text: str, entry_point: str | None) -> bool:
    """Whether text without a fence is a program: it defines the entry point, or at least a function, in Python."""
    if entry_point and _defines(text, entry_point):
        return True
    try:
        tree = ast.parse(text)
    except UNREADABLE:
        return False
    return any(isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Import) for node in tree.body)
