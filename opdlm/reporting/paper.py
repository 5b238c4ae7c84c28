"""The paper's own numbers, to stand beside ours."""

import csv
from dataclasses import dataclass
from pathlib import Path

from opdlm.config.settings import Settings
from opdlm.errors import DataError, SettingsError


@dataclass(frozen=True, slots=True)
class PaperValue:
    """A number of the paper, with its standard deviation over seeds where the paper gives one."""

    value: float
    std: float | None


class PaperValues:
    """The numbers of a file with the columns table, row, benchmark, value, std.

    Raises:
        DataError: the file is missing or malformed.
    """

    def __init__(self, file: Path) -> None:
        self._values: dict[tuple[str, str, str], PaperValue] = {}
        try:
            with open(file, encoding="utf-8", newline="") as stream:
                for number, record in enumerate(csv.DictReader(stream), start=2):
                    key, value = _entry(record, f"{file}, line {number}")
                    self._values[key] = value
        except FileNotFoundError:
            raise DataError(f"{file} does not exist") from None

    def find(self, table: str | None, row: str | None, benchmark: str) -> PaperValue | None:
        """The paper's number, if it has one."""
        return self._values.get((table or "", row or "", benchmark))

    def check(self, settings: Settings) -> None:
        """Refuse names of tables and rows that the paper does not have.

        Raises:
            SettingsError: the message names the key.
        """
        rows: dict[str, set[str]] = {}
        for table, row, _ in self._values:
            rows.setdefault(table, set()).add(row)
        for name, chosen in settings.tables.items():
            if chosen.paper_table is not None:
                _known(f"tables.{name}.paper_table", chosen.paper_table, set(rows))
            for index, line in enumerate(chosen.rows):
                if line.paper_row is not None:
                    key = f"tables.{name}.rows.{index}.paper_row"
                    _known(key, line.paper_row, rows.get(chosen.paper_table or "", set()))


def _known(key: str, name: str, names: set[str]) -> None:
    if name not in names:
        raise SettingsError(f"{key}: '{name}' is not in the paper (known: {', '.join(sorted(names)) or 'none'})")


def _entry(record: dict[str, str], where: str) -> tuple[tuple[str, str, str], PaperValue]:
    try:
        value = PaperValue(float(record["value"]), float(record["std"]) if record["std"] else None)
        return (record["table"], record["row"], record["benchmark"]), value
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{where}: not table,row,benchmark,value,std ({error})") from None
