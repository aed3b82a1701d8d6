"""What the commands share: tables, a progress bar, plans."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

if TYPE_CHECKING:
    from foreword.training.plan import Plan

SHOWN = ("accuracy", "span_f1", "answer_f1", "p_at_1", "loss")
"""The validation metrics that are told while a run goes on."""
out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def pairs(rows: Iterable[tuple[str, str]], title: str | None = None, console: Console = out) -> None:
    """Names and values, one a line."""
    table = Table(title=title, show_header=False, box=None, title_justify="left", padding=(0, 2, 0, 0))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(escape(name), escape(value))
    console.print(table)


def grid(columns: Sequence[str], rows: Iterable[Sequence[str]], title: str | None = None) -> None:
    """A table whose first column is text and whose others are numbers."""
    table = Table(title=title, title_justify="left")
    for i, name in enumerate(columns):
        table.add_column(escape(name), justify="left" if i == 0 else "right", overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    out.print(table)


def plan(made: Plan) -> None:
    """The plan, on the error stream, so that results alone go to the output."""
    pairs(made.lines(), "plan", err)


class Bar:
    """A progress bar with the time left on a terminal; one line an evaluation elsewhere."""

    def __init__(self, title: str = "training") -> None:
        self.title = title
        self.note = ""
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self.bar = Progress(
            *columns, TimeRemainingColumn(), TextColumn("{task.fields[note]}"), console=err, disable=not err.is_terminal
        )
        self.task = self.bar.add_task(title, total=None, note="")

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    def beside(self, title: str) -> Bar:
        """Another bar below this one, for a run in the same pass."""
        other = Bar.__new__(Bar)
        other.title, other.note, other.bar = title, "", self.bar
        other.task = self.bar.add_task(title, total=None, note="")
        return other

    def step(self, done: int, steps: int, loss: float) -> None:
        """One optimiser step is done."""
        self.bar.update(self.task, completed=done, total=steps, note=f"loss {loss:.3f} {self.note}")

    def kept(self, done: int, rows: int) -> None:
        """What the frozen layers give is kept for `done` of so many rows."""
        self.bar.update(self.task, completed=done, total=rows, note="rows through the frozen layers")

    def evaluated(self, step: int, metrics: dict[str, float]) -> None:
        """The validation rows were scored."""
        self.note = ", ".join(f"{name} {value:.3f}" for name, value in metrics.items() if name in SHOWN)
        if self.bar.disable:
            err.print(f"{self.title}: step {step}: validation {self.note}")
