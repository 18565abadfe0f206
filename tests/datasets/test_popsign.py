"""PopSign: folders of signs, and signers in the names of files."""

from __future__ import annotations

from pathlib import Path

import pytest

from asl.datasets.instance import Metadata, MetadataError
from asl.datasets.popsign import PopSign


def load(root: Path, *files: str) -> Metadata:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    return PopSign(name="popsign", root=str(root)).load()


def test_folders_are_glosses_and_numbers_in_names_are_signers(tmp_path: Path) -> None:
    metadata = load(
        tmp_path,
        "train/TV/2022.4-TV-1.mp4",
        "val/TV/2022.17-TV-1.mp4",
        "test/after/2022.5-after-9.3-x.mp4",
        "train/after/noname.mp4",
    )
    assert [(one.path, one.gloss, one.split, one.signer_id) for one in metadata.instances] == [
        ("train/TV/2022.4-TV-1.mp4", "TV", "train", "4"),
        ("train/after/noname.mp4", "after", "train", ""),
        ("val/TV/2022.17-TV-1.mp4", "TV", "val", "17"),
        ("test/after/2022.5-after-9.3-x.mp4", "after", "test", "5"),
    ]
    assert (metadata.glosses, metadata.notes) == (("TV", "after"), ())


def test_numbers_that_are_in_two_splits_name_no_signers(tmp_path: Path) -> None:
    metadata = load(tmp_path, "train/a/x.4-1.mp4", "train/b/x.5-1.mp4", "test/a/y.4-1.mp4", "test/b/z.mp4")
    assert {one.signer_id for one in metadata.instances} == {""}
    assert metadata.notes == (
        "PopSign: signers are unknown: numbers in the names of files are in two splits",
    )


def test_a_missing_folder_says_how_to_get_the_videos(tmp_path: Path) -> None:
    with pytest.raises(MetadataError, match=r"gone \(dataset\.root\): cannot be read: .*\nunpack it"):
        PopSign(name="popsign", root=str(tmp_path / "gone"), how_to_get="unpack it").load()
