"""Mathematics: questions with a number or an expression as the answer."""

from opdlm.data.readers.records import Record, RowFields


def gsm8k(record: Record) -> RowFields:
    """A row of GSM8K, whose answer stands behind the mark ####."""
    _, mark, answer = record.text("answer").rpartition("####")
    if not mark or not answer.strip():
        raise record.error("answer", "no result after ####")
    return _row(record.text("question"), answer.strip().replace(",", ""))


def math500(record: Record) -> RowFields:
    """A row of MATH-500."""
    return {**_row(record.text("problem"), record.text("answer")), "subdivision": record.fields.get("subject")}


def aime(record: Record) -> RowFields:
    """A row of AIME in the forms that are about: the answer is an integer from 0 to 999, written 25, "025" or 25.0."""
    answer = record.fields.get("answer")
    try:
        # A number may also be written as text, "70.0"; True is not one.
        number = float(answer if isinstance(answer, str | int | float) and not isinstance(answer, bool) else "none")
    except ValueError:
        raise record.error("answer", f"{answer!r} is not a number") from None
    if not 0 <= number <= 999 or number != int(number):
        raise record.error("answer", f"{answer!r} is not an integer from 0 to 999")
    return _row(record.text("problem", "question"), str(int(number)))


def livemathbench(record: Record) -> RowFields:
    """A row of LiveMathBench. Its language is the end of the set's name, `..._en` or `..._cn`, as of the file's."""
    language = (str(record.fields.get("subdivision") or record.file.name.split(".")[0])).rpartition("_")[2]
    if language not in ("en", "cn"):
        raise record.error("subdivision", "does not end in _en or _cn, and the file's name does not either")
    return {**_row(record.text("question", "problem"), record.text("answer")), "subdivision": f"hard_{language}"}


def _row(question: str, answer: str) -> RowFields:
    return {"question": question, "ground_truth_answer": answer, "domain": "math"}
