"""What ``python export.py`` prints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from asl.inference.export.measure import Measured
from asl.inference.export.model_card import Evaluation, compared_on, table_cells


def print_export(rows: Sequence[Measured], clips: str, evaluation: Evaluation, folder: Path) -> None:
    """Print the table of the checkpoint and the files, and where they are.

    Args:
        rows: the checkpoint, then each file.
        clips: the clips that were measured, in words; empty if none were.
        evaluation: the figures in the model card.
        folder: where the files are.
    """
    console = Console(highlight=False)
    titles, *lines = table_cells(rows)
    table = Table(title="Export", title_justify="left", title_style="bold", box=None, pad_edge=False)
    for title in titles:
        table.add_column(title, justify="left" if title == titles[0] else "right")
    for line in lines:
        table.add_row(*line)
    console.print(table)
    console.print(f"{compared_on(clips)}\n")
    if evaluation.missing:
        console.print(f"The model card has no figures of evaluate.py: {evaluation.missing}", markup=False)
    names = ", ".join([*(row.name for row in rows[1:]), "README.md (the model card)"])
    console.print(f"Files: {folder}/{names}", soft_wrap=True, markup=False)
