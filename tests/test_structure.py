"""The borders between the packages of asl: who imports whom, and what stays unloaded until it is needed."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((ROOT / "asl").rglob("*.py"))
}
FIRST_HALF = ("asl.preprocess", "asl.download")
SECOND_HALF = ("asl.data", "asl.model", "asl.training", "asl.inference", "asl.evaluation")
DEEPER = ("asl.preprocess", "asl.inference")
SHARED = ("asl.codecs", "asl.contract", "asl.config", "asl.datasets", "asl.launch", "asl.page")
HEAVY = {
    "torch",
    "torchvision",
    "pytorch_lightning",
    "torchmetrics",
    "sklearn",
    "scipy",
    "decord",
    "jinja2",
    "onnx",
    "onnxruntime",
    "av",
    "aiohttp",
    "yt_dlp",
    "submitit",
}


def imports(node: ast.AST) -> Iterator[str]:
    """The modules that a module imports, when it is loaded or later in its functions.

    What stands under ``if TYPE_CHECKING`` is never imported.
    """
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, "relative import"
            assert child.module is not None
            names = (f"{child.module}.{alias.name}" for alias in child.names)
            yield from (name if name in FILES else child.module for name in names)
        elif isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        else:
            yield from imports(child)


TREES = {module: ast.parse(path.read_text(encoding="utf-8")) for module, path in FILES.items()}
EVER = {module: set(imports(tree)) for module, tree in TREES.items()}


def within(module: str, packages: tuple[str, ...]) -> bool:
    return any(f"{module}.".startswith(f"{package}.") for package in packages)


def crossings(users: tuple[str, ...], used: tuple[str, ...]) -> list[str]:
    """``a imports b`` for each import of a module of ``used`` by one of ``users``, at any level."""
    return [
        f"{module} imports {name}"
        for module, names in EVER.items()
        for name in names
        if within(module, users) and within(name, used)
    ]


def package(module: str) -> str:
    """``asl.data`` of ``asl.data.readers.base``; in DEEPER the packages lie one level deeper."""
    return ".".join(module.split(".")[: 3 if within(module, DEEPER) else 2])


def test_modules_do_not_import_each_other_in_a_circle_not_even_in_functions() -> None:
    graph = {module: {name for name in names if name in FILES} for module, names in EVER.items()}
    list(TopologicalSorter(graph).static_order())  # raises CycleError with the circle


def test_packages_do_not_import_each_other_in_a_circle_not_even_in_functions() -> None:
    graph: dict[str, set[str]] = {}
    for module, names in EVER.items():
        others = {package(name) for name in names if name in FILES} - {package(module)}
        graph.setdefault(package(module), set()).update(others)
    list(TopologicalSorter(graph).static_order())


@pytest.mark.parametrize(
    ("users", "used"),
    [
        (FIRST_HALF, SECOND_HALF),
        (SECOND_HALF, FIRST_HALF),
        (SHARED, FIRST_HALF + SECOND_HALF),
        # Only pipeline.py, run_plan.py and run_result.py know both the GPU and the other packages.
        (
            tuple(f"asl.preprocess.{name}" for name in ("sources", "clips", "audit", "report")),
            ("asl.preprocess.gpu",),
        ),
        (("asl.preprocess",), ("asl.download",)),
        (FIRST_HALF + SECOND_HALF + SHARED, ("asl.demo",)),
    ],
    ids=str,
)
def test_borders_are_kept(users: tuple[str, ...], used: tuple[str, ...]) -> None:
    assert crossings(users, used) == []


def test_ffmpeg_is_known_to_codecs_alone() -> None:
    # The GPU's checks open devices and encoders that codecs does not; the demo writes damaged and odd files,
    # and must not test codecs with itself.
    users = {module for module, names in EVER.items() if any(within(name, ("av",)) for name in names)}
    assert [m for m in users if not within(m, ("asl.codecs", "asl.preprocess.gpu", "asl.demo"))] == []


def loaded_by(code: str) -> set[str]:
    """The top-level packages that a new Python process has loaded after ``code``."""
    code += "\nimport sys; print(*{name.split('.')[0] for name in sys.modules})"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(result.stdout.split())


def test_importing_asl_loads_nothing_heavy() -> None:
    assert loaded_by("import asl") & (HEAVY | {"numpy", "hydra", "omegaconf", "rich"}) == set()


def test_processes_that_decode_videos_load_no_torch() -> None:
    assert loaded_by("import asl.inference.clip_frames") & (HEAVY - {"av"}) == set()


@pytest.mark.parametrize("choices", [{}, {"dataset": "demo", "reader": "decord", "model": "r3d"}], ids=str)
def test_composing_a_configuration_loads_nothing_heavy(choices: dict[str, str]) -> None:
    code = "import sys; sys.path.insert(0, 'tests'); from composing import composed\n"
    for program, groups in (
        ("download", []),
        ("preprocess", ["dataset"]),
        ("train", ["dataset", "reader", "model"]),
        ("evaluate", ["dataset", "reader"]),
        ("export", ["dataset", "reader"]),
        ("predict", []),
    ):
        overrides = [f"{group}={choices[group]}" for group in groups if group in choices]
        overrides += ["model.weights=null"] if program == "train" else []
        code += f"composed({program!r}, *{overrides!r})\n"
    assert loaded_by(code) & HEAVY == set()
