"""The files that make the environment agree with each other."""

import re
import sys
from pathlib import Path

import pytest
import yaml

from asl.preprocess.gpu.checks import GET_DALI, GET_NVDEC

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


def test_what_only_gpus_need_is_in_the_extras_alone(pyproject):
    extras = pyproject["optional-dependencies"]
    names = {extra: [re.split("[<>=]", package)[0] for package in extras[extra]] for extra in extras}
    assert names["gpu"] == ["cuda-bindings", "nvidia-cuda-nvrtc"]
    assert [name.split("-cuda")[0] for name in names["dali"]] == ["nvidia-dali"]
    assert not [name for name in pyproject["dependencies"] if "dali" in name or "cuda" in name]


def test_each_extra_for_gpus_has_a_switch_of_the_makefile_that_messages_name(pyproject):
    makefile = (ROOT / "Makefile").read_text()
    for extra, remedy in (("gpu", GET_NVDEC), ("dali", GET_DALI)):
        assert extra in pyproject["optional-dependencies"]
        assert f"$(if $({extra}),$(comma){extra})" in makefile
        assert remedy == f"make install {extra}=1, or pip install 'asl[{extra}]'"


def test_the_version_is_said_once_more_in_the_package(pyproject):
    import asl

    assert asl.__version__ == pyproject["version"]
