"""Lengths of source files as the authors of WLASL published them."""

from pathlib import Path

import pytest

from asl.datasets.instance import MetadataError
from asl.datasets.wlasl_lengths import find_lengths, load_lengths


def test_published_lengths_are_read_or_one_clear_error(tmp_path):
    path = tmp_path / "nslt.json"
    with pytest.raises(MetadataError, match=r"no such file \(dataset\.lengths\)"):
        load_lengths(path)
    path.write_text('{"05237": {"subset": "train", "action": [77, 1, 55]}}')
    assert load_lengths(path) == {"05237": 55}
    for content in ("[]", '{"1": 3}', '{"1": {"action": [1]}}', "x"):
        path.write_text(content)
        with pytest.raises(MetadataError, match=r"nslt\.json: not of the form"):
            load_lengths(path)


def test_published_lengths_beside_the_metadata_are_found(tmp_path):
    metadata = tmp_path / "WLASL100_flat.json"
    assert find_lengths("auto", metadata, 100) is None
    (tmp_path / "nslt_100.json").write_text("{}")
    assert find_lengths("auto", metadata, 100) == tmp_path / "nslt_100.json"
    assert find_lengths("auto", metadata, 300) is None
    assert find_lengths(None, metadata, 100) is None
    assert find_lengths("else.json", metadata, 100) == Path("else.json")  # must be there: it was named
