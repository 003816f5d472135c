"""What an import says when it refuses a file. How a file is judged belongs to the modules that read it."""

from __future__ import annotations

from pathlib import Path

SKIP_BAD_OPTION = "--skip-bad"
"""How the command line asks for bad rows to be left out; remedies name it, and the command takes it from here."""


class ImportRefused(Exception):  # noqa: N818 - a refusal is an outcome, shown as it is
    """A file that was not imported, with the place and the way out.

    `line` is the line in a text file (the header is line 1 when there is one) or the row number, from 1, in a Parquet
    file; None when the file as a whole is at fault. `column` is the name in the header, `value` the text found there.
    """

    def __init__(
        self,
        path: Path,
        problem: str,
        *,
        remedy: str,
        line: int | None = None,
        column: str | None = None,
        value: str | None = None,
        unit: str = "line",
    ) -> None:
        """Keep the parts, so that a caller can show them in its own way."""
        self.path = path
        self.problem = problem
        self.remedy = remedy
        self.line = line
        self.column = column
        self.value = value
        self.unit = unit
        super().__init__(path, problem, remedy, line, column, value, unit)

    def __reduce__(self) -> tuple[object, ...]:
        """Survive the way between processes (keyword arguments are lost by default)."""
        return (_rebuild, (type(self), *self.args))

    def __str__(self) -> str:
        """One sentence with the place, one with the remedy."""
        place = str(self.path)
        if self.line is not None:
            place += f", {self.unit} {self.line}"
        if self.column is not None:
            place += f", column {self.column!r}"
        found = "" if self.value is None else f" (found {_shortened(self.value)!r})"
        return f"{place}: {self.problem}{found}. {self.remedy}"


class NotBars(ImportRefused):
    """A file that is understood and holds no bars (quotes, factor or map files): a folder import passes it by."""


class UnusableFile(Exception):  # noqa: N818 - becomes a refusal once the path is known
    """A recognised file that cannot be read as bars; `is_other_kind` when it is sound but holds something else."""

    def __init__(self, problem: str, remedy: str, *, is_other_kind: bool = False) -> None:
        """Keep problem and remedy apart, as the refusal needs them."""
        super().__init__(problem)
        self.problem = problem
        self.remedy = remedy
        self.is_other_kind = is_other_kind


def _rebuild(
    kind: type[ImportRefused],
    path: Path,
    problem: str,
    remedy: str,
    line: int | None,
    column: str | None,
    value: str | None,
    unit: str,
) -> ImportRefused:
    return kind(path, problem, remedy=remedy, line=line, column=column, value=value, unit=unit)


def _shortened(value: str) -> str:
    return value if len(value) <= 80 else value[:77] + "..."
