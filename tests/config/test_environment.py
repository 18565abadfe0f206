"""The files that make the environment agree with each other."""

import re
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def pyproject():
    if sys.version_info < (3, 11):
        pytest.skip("tomllib came with Python 3.11")
    import tomllib

    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture
def conda():
    return yaml.safe_load((ROOT / "environment.yml").read_text())


def test_conda_takes_every_package_from_pyproject(conda):
    *packages, pip = conda["dependencies"]
    assert [re.split("[<>=]", package)[0] for package in packages] == ["python", "pip"]
    assert pip == {"pip": ["--editable .[dev]"]}


def test_conda_takes_the_same_pythons(conda, pyproject):
    python = conda["dependencies"][0]
    assert python.removeprefix("python") == pyproject["requires-python"]


def test_the_makefile_looks_for_the_same_pythons(pyproject):
    low, high = re.search(
        r"\((3, \d+)\) <= sys.version_info < \((3, \d+)\)", (ROOT / "Makefile").read_text()
    ).groups()
    assert f">={low.replace(', ', '.')},<{high.replace(', ', '.')}" == pyproject["requires-python"]


def test_the_gpu_extra_holds_dali_and_nothing_else_needs_it(pyproject):
    assert [name.split("-cuda")[0] for name in pyproject["optional-dependencies"]["gpu"]] == ["nvidia-dali"]
    assert not [name for name in pyproject["dependencies"] if "dali" in name]


def test_the_version_is_said_once_more_in_the_package(pyproject):
    import asl

    assert asl.__version__ == pyproject["version"]
