"""Text and progress bars on the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


def print_text(console: Console, text: str) -> None:
    """Print text as it is: not wrapped, so that paths can be copied, and without markup."""
    console.print(text, soft_wrap=True, markup=False, highlight=False)


def count_progress(console: Console) -> Progress:
    """Bars that show how many of how many are done, and the time left."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console)
