"""The YAML files of the data sets."""

from __future__ import annotations

from pathlib import Path

import pytest
from composing import CONF, composed

CHOICES = sorted(path.stem for path in (CONF / "dataset").glob("*.yaml"))
DOCS = CONF.parent / "docs" / "datasets.md"


@pytest.mark.parametrize("choice", [name for name in CHOICES if name != "folder"])
def test_a_data_set_says_how_to_get_its_files(choice: str) -> None:
    dataset = composed("preprocess", f"dataset={choice}").dataset
    assert dataset.how_to_get
    assert choice == "csv" or dataset.name == choice  # the manifests of two choices have different names


def test_the_table_of_data_sets_names_them_all() -> None:
    rows = [
        line.split("|")[1] for line in DOCS.read_text(encoding="utf-8").splitlines() if line.startswith("| `")
    ]
    names = []
    for row in rows:
        first, *others = row.replace("`", "").replace(" ", "").split(",")
        stem = first.rstrip("0123456789")
        names += [first, *(f"{stem}{other}" if other.isdecimal() else other for other in others)]
    assert set(CHOICES) - {"demo"} <= set(names)


def test_no_two_data_sets_share_their_videos_folder_by_accident() -> None:
    roots = {
        name: composed("preprocess", f"dataset={name}").dataset.root
        for name in ("asl_citizen", "autsl", "lsa64", "semlex", "slovo", "include", "popsign", "karsl502")
    }
    assert len(set(roots.values())) == len(roots)
    assert all(Path(root).parts[:2] == ("data", "raw") for root in roots.values())
