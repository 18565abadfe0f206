"""The table of mutation testing is about modules, tests and lines that exist."""

from __future__ import annotations

from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
TABLE = yaml.safe_load((ROOT / "tests" / "mutants.yaml").read_text(encoding="utf-8"))


def test_modules_and_tests_exist() -> None:
    tests = [test.partition("::")[0] for tests in TABLE["tests"].values() for test in tests]
    assert [path for path in [*TABLE["tests"], *tests] if not (ROOT / path).is_file()] == []


def test_changes_that_cannot_matter_are_of_lines_that_exist() -> None:
    gone = []
    for module, changes in TABLE["harmless"].items():
        lines = {line.strip() for line in (ROOT / module).read_text(encoding="utf-8").splitlines()}
        gone += [f"{module}: {change['line']}" for change in changes if change["line"] not in lines]
    assert gone == []
