"""The tables of the page, from what the run found. Pure: the same findings give the same rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from asl.preprocess.report import coverage, troubles
from asl.preprocess.report.tables import Cell, Column, Table
from asl.preprocess.run_result import RunResult


def tables(findings: RunResult) -> dict[str, Table]:
    """Every table, by the name under which the page asks for it."""
    return {
        "reasons": troubles.reasons(findings),
        "problems": troubles.problems(findings),
        "splits": coverage.splits(findings),
        "sites": coverage.sites(findings),
        "classes": coverage.classes(findings),
        "matching": troubles.matching(findings),
        "pair_kinds": troubles.pair_kinds(findings),
        "pairs": troubles.pairs(findings),
        "suspects": troubles.suspects(findings),
        "signers": coverage.signers(findings),
        "small": coverage.small(findings),
        "durations": coverage.durations(findings),
        "raw_rates": coverage.raw_rates(findings),
        "raw_sizes": coverage.raw_sizes(findings),
        "raw_codecs": coverage.raw_codecs(findings),
        "steps": _steps(findings),
        "settings": _settings(findings),
        "stale": Table(
            caption="Files that no clip of this run owns",
            columns=(Column(name="File", kind="code"),),
            rows=[[name] for name in findings.stale],
        ),
    }


def _steps(findings: RunResult) -> Table:
    return Table(
        caption="Steps",
        columns=(Column(name="Step"), Column(name="Seconds", kind="decimal")),
        rows=[[step, seconds] for step, seconds in findings.seconds.items()],
    )


def _settings(findings: RunResult) -> Table:
    return Table(
        caption="Settings",
        columns=(
            Column(name="Key", kind="code"),
            Column(name="Value", kind="code"),
            Column(name="That means", kind="words"),
        ),
        rows=list(_flat(findings.config)),
    )


def _flat(config: Any, prefix: str = "") -> Iterator[list[Cell]]:
    for field in dataclasses.fields(config):
        key, value = prefix + field.name, getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            yield from _flat(value, key + ".")
        else:
            shown = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
            yield [key, shown, field.metadata.get("help", "")]
