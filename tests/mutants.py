"""Mutation testing: change the modules that hold rules at one place at a time, and run their own tests.

``mutants.yaml`` names the modules with their tests, and the changes that cannot matter. The changes are those
of cosmic-ray: another operator, number or exception, a negated condition, a loop that never runs.

    python tests/mutants.py --sample 600 --seed 1      # as make mutants
    python tests/mutants.py --sample 0 sampling split  # every place of these modules
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import difflib
import gc
import importlib
import itertools
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names
from hypothesis import Phase, settings

ROOT = Path(__file__).parents[1]
TABLE = Path(__file__).with_suffix(".yaml")
COPIED = ("asl", "conf", "tests", "pyproject.toml")
LEAST_NOTICED = 0.95

#: ``is`` for ``==`` and the reverse: equal for None, members of an Enum and small numbers.
SAME = ("_Is_Eq", "_IsNot_NotEq", "_Eq_Is", "_NotEq_IsNot")
OPERATORS = [
    name for name in operator_names() if not name.endswith(SAME) and not get_operator(name).arguments()
]


@dataclass(frozen=True)
class Place:
    """A place of a module, and the operators that can change it."""

    module: str  # relative to ROOT
    start: tuple[int, int]  # line, counted from 1, and column
    operators: tuple[tuple[str, int], ...]  # cosmic-ray's name, and which of its occurrences in the module


@dataclass(frozen=True)
class Mutant:
    """A module with one change."""

    module: str
    number: int  # of the changed line
    source: str
    line: str  # the changed lines, stripped
    mutant: str  # what replaces them


def places_of(module: str) -> list[Place]:
    """The places of a module that an operator can change, in their order."""
    found: dict[tuple[tuple[int, int], tuple[int, int]], list[tuple[str, int]]] = defaultdict(list)
    occurrences: Counter[str] = Counter()
    operators = [(name, get_operator(name)()) for name in OPERATORS]
    for node in ast_nodes(get_ast((ROOT / module).read_text(encoding="utf-8"))):
        for name, operator in operators:
            for position in operator.mutation_positions(node):
                found[position].append((name, occurrences[name]))
                occurrences[name] += 1
    return [Place(module, start, tuple(by)) for (start, _), by in sorted(found.items())]


def draw_mutant(place: Place, rng: random.Random) -> Mutant | None:
    """A random change of a place that can have an effect; None if there is none."""
    source = (ROOT / place.module).read_text(encoding="utf-8")
    for name, occurrence in rng.sample(place.operators, len(place.operators)):
        changed = mutate_code(source, get_operator(name)(), occurrence)
        if changed is None or _effect(changed) in (None, _effect(source)):
            continue
        lines = list(difflib.ndiff(source.splitlines(), changed.splitlines()))
        before, after = (" ".join(line[2:].strip() for line in lines if line[0] == sign) for sign in "-+")
        return Mutant(place.module, place.start[0], changed, before, after)
    return None


def _effect(source: str) -> str | None:
    """What a module does. None if it is no Python.

    Left out is what only restrains programmers: annotations and imports for them, ``frozen`` and ``kw_only``
    of data classes, and that parameters have to be given by name.
    """
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return None
    for node in ast.walk(tree):
        if isinstance(node, ast.arg | ast.AnnAssign):
            node.annotation = ast.Constant(None)
        elif isinstance(node, ast.FunctionDef):
            node.returns = None
        elif isinstance(node, ast.arguments):
            node.args = [*node.posonlyargs, *node.args, *node.kwonlyargs]
            node.defaults += [default for default in node.kw_defaults if default]
            node.posonlyargs, node.kwonlyargs, node.kw_defaults = [], [], []
        elif isinstance(node, ast.Call):
            node.keywords = [one for one in node.keywords if one.arg not in ("frozen", "kw_only")]
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            node.test = ast.Constant(False)
    return ast.dump(tree)


class Slot:
    """A copy of the project in which one mutant at a time is tested.

    The tests run in a forked process, so that torch is imported only once.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, folder / name)
        self.mutant: Mutant | None = None
        self._pid = 0
        self._until = 0.0

    def start(self, tests: Sequence[str], mutant: Mutant | None, limit_s: float) -> None:
        """Run the tests, with ``mutant`` in the place of its module."""
        self.mutant = mutant
        if mutant:
            self._write(mutant.module, mutant.source)
        self._until = time.monotonic() + limit_s
        self._pid = os.fork() or self._run(tests)

    def ended(self) -> int | None:
        """The exit status of the tests, -9 if they ran past their limit; None while they run."""
        pid, status = os.waitpid(self._pid, os.WNOHANG)
        if not pid:
            if time.monotonic() < self._until:
                return None
            self.stop()
            status = signal.SIGKILL
        if self.mutant:
            self._write(self.mutant.module, (ROOT / self.mutant.module).read_text(encoding="utf-8"))
        self._pid = 0
        return os.waitstatus_to_exitcode(status)

    def stop(self) -> None:
        """End the tests, if they run, with all their processes."""
        if self._pid:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)

    def _write(self, module: str, source: str) -> None:
        path = self.folder / module
        path.write_text(source, encoding="utf-8")
        for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
            compiled.unlink()  # a change within the same second is not noticed by its time

    def _run(self, tests: Sequence[str]) -> int:
        status = 1
        try:
            os.setsid()
            os.chdir(self.folder)
            sys.path.insert(0, str(self.folder))
            with (self.folder / "output.txt").open("w") as output:
                os.dup2(output.fileno(), 1)
                os.dup2(output.fileno(), 2)
            options = ["-xq", "-pno:cacheprovider", "--hypothesis-seed=0", f"--basetemp={self.folder}/tmp"]
            status = pytest.main([*options, *tests])
        finally:
            os._exit(status)


def run(
    mutants: Sequence[Mutant], tests_of: dict[str, list[str]], jobs: int
) -> Iterator[tuple[Mutant, bool]]:
    """Yield each mutant, and whether its module's tests notice it: they fail or take far longer.

    Raises:
        SystemExit: the tests fail without a mutant.
    """
    limit_s: dict[str, float] = {}
    waiting = sorted(mutants, key=lambda one: one.module, reverse=True)
    with tempfile.TemporaryDirectory() as folder:
        slots = [Slot(Path(folder) / str(number)) for number in range(jobs)]
        try:
            for module in dict.fromkeys(one.module for one in mutants):
                slots[0].start(tests_of[module], None, 600)
                started = time.monotonic()
                while (status := slots[0].ended()) is None:
                    time.sleep(0.02)
                if status:
                    output = (slots[0].folder / "output.txt").read_text()
                    sys.exit(f"{output}\n{module}: its tests fail without a mutant")
                limit_s[module] = 10 + 10 * (time.monotonic() - started)
            idle, busy = slots[:], list[Slot]()
            while waiting or busy:
                while waiting and idle:
                    mutant = waiting.pop()
                    busy.append(idle.pop())
                    busy[-1].start(tests_of[mutant.module], mutant, limit_s[mutant.module])
                for slot in busy[:]:
                    if (status := slot.ended()) is not None:
                        busy.remove(slot)
                        idle.append(slot)
                        assert slot.mutant
                        yield slot.mutant, status != 0
                time.sleep(0.02)
        finally:
            for slot in slots:
                slot.stop()


def preload() -> None:
    """Import what most tests import, before processes are forked."""
    for name in ("av", "hydra", "pytorch_lightning", "sklearn.model_selection", "torchvision"):
        importlib.import_module(name)
    gc.freeze()  # pytest collects garbage twice in each process
    # One failure is enough, and it need not be made small.
    settings.register_profile("mutants", phases=[Phase.explicit, Phase.generate], database=None)
    settings.load_profile("mutants")


def draw_mutants(modules: Iterable[str], count: int, seed: int) -> list[Mutant]:
    """A random change at each of ``count`` random places of the modules; 0: at every place."""
    rng = random.Random(seed)
    places = [place for module in modules for place in places_of(module)]
    rng.shuffle(places)
    drawn = (draw_mutant(place, rng) for place in places)
    return list(itertools.islice(filter(None, drawn), count or None))


def _without_space(line: str) -> str:
    return "".join(line.split())


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("modules", nargs="*", help="parts of the names of modules; none: all of the table")
    parser.add_argument("--sample", type=int, default=600, help="places to change; 0: all")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of places and changes")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="mutants tested side by side")
    args = parser.parse_args()

    table = yaml.safe_load(TABLE.read_text(encoding="utf-8"))
    tests_of = {
        module: tests
        for module, tests in table["tests"].items()
        if not args.modules or any(part in module for part in args.modules)
    }
    known = {
        (module, _without_space(one["line"]), _without_space(mutant))
        for module, ones in table["harmless"].items()
        for one in ones
        for mutant in one["mutants"]
    }
    mutants = draw_mutants(tests_of, args.sample, args.seed)
    harmless = [
        one for one in mutants if (one.module, _without_space(one.line), _without_space(one.mutant)) in known
    ]
    counts = {
        "mutants": Counter(one.module for one in mutants),
        "harmless": Counter(one.module for one in harmless),
        "noticed": Counter[str](),
    }
    preload()
    for mutant, noticed in run([one for one in mutants if one not in harmless], tests_of, args.jobs):
        if noticed:
            counts["noticed"][mutant.module] += 1
        else:
            print(f"{mutant.module}:{mutant.number}\n- {mutant.line}\n+ {mutant.mutant}\n", flush=True)

    width = max(map(len, tests_of))
    print(f"{'module':{width}}", *(f"{name:>8}" for name in counts))
    for module in tests_of:
        print(f"{module:{width}}", *(f"{count[module]:8}" for count in counts.values()))
    total, without_effect, noticed_ones = (count.total() for count in counts.values())
    share = noticed_ones / max(1, total - without_effect)
    print(f"{'total':{width}}", *(f"{count.total():8}" for count in counts.values()), f"{share:8.1%}")
    return int(share < LEAST_NOTICED)


if __name__ == "__main__":
    sys.exit(main())
