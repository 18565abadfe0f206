"""LSA64: names of files, a table of signs and a split by signer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from composing import composed

from asl.config.setting import ConfigError
from asl.datasets.instance import Metadata, MetadataError
from asl.datasets.lsa64 import Lsa64

SIGNS = "".join(
    f"{number:02}|{'Opaque' if number == 1 else f'Sign {number}'}|R|\n" for number in range(1, 65)
)


def write(root: Path, *names: str, signs: str = SIGNS) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    (root / "lsa64_signs.md").write_text(signs)
    return root


def load(root: Path, **settings: Any) -> Metadata:
    settings = {"signs": str(root / "lsa64_signs.md"), **settings}
    return Lsa64(name="lsa64", root=str(root), **settings).load()


def test_names_are_sign_signer_and_repetition(tmp_path: Path) -> None:
    metadata = load(
        write(tmp_path, "LSA64_Cut/001_001_005.mp4", "LSA64_Cut/064_010_001.mp4", "003_009_001.mp4")
    )
    assert [(one.path, one.gloss, one.split, one.signer_id) for one in metadata.instances] == [
        ("003_009_001.mp4", "Sign 3", "val", "9"),
        ("LSA64_Cut/001_001_005.mp4", "Opaque", "train", "1"),
        ("LSA64_Cut/064_010_001.mp4", "Sign 64", "test", "10"),
    ]
    assert (len(metadata.glosses), metadata.glosses[0], metadata.refused) == (64, "Opaque", ())


def test_held_out_signers_can_be_chosen(tmp_path: Path) -> None:
    root = write(tmp_path, *(f"001_{signer:03}_001.mp4" for signer in range(1, 11)))
    metadata = load(root, val_signers=[1, 2], test_signers=[3])
    assert "".join(one.split[1] for one in metadata.instances) == "aaerrrrrrr"
    with pytest.raises(ConfigError, match=r"val_signers and dataset\.test_signers: \[10\] cannot be in both"):
        composed("preprocess", "dataset=lsa64", "dataset.val_signers=[9,10]")
    with pytest.raises(ConfigError, match=r"dataset\.val_signers=\[11\]: must be at least 1 and at most 10"):
        composed("preprocess", "dataset=lsa64", "dataset.val_signers=[11]")


def test_without_the_table_glosses_are_numbers(tmp_path: Path) -> None:
    metadata = load(write(tmp_path, "002_001_001.mp4"), signs=None)
    assert (metadata.instances[0].gloss, metadata.glosses[63]) == ("002", "064")


def test_other_files_are_refused(tmp_path: Path) -> None:
    root = write(
        tmp_path, "001_001_001.mp4", "a/001_001_001.mp4", "intro.mp4", "065_001_001.mp4", "001_011_001.mp4"
    )
    assert [one.error for one in load(root).refused] == [
        "001_011_001.mp4: LSA64 has 64 signs and 10 signers",
        "065_001_001.mp4: LSA64 has 64 signs and 10 signers",
        "intro.mp4: its name is not of the form 001_001_001, sign, signer and repetition",
        "001_001_001.mp4 and a/001_001_001.mp4: video_id='001_001_001' for different instances",
    ]


def test_a_table_without_a_sign_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MetadataError, match=r"has no line as 01\|Opaque\|R\| for sign 64"):
        load(write(tmp_path, "001_001_001.mp4", signs=SIGNS.replace("64|", "|")))


def test_a_folder_without_videos_says_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(MetadataError, match=r"no videos there \(dataset\.root\)\.\nunpack it"):
        load(write(tmp_path), how_to_get="unpack it")
