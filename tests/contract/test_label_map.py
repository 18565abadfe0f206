"""The label map is written once and never changed."""

import json

import pytest

from asl.contract.label_map import LabelMapError, read_or_write_label_map


def test_a_new_label_map_has_the_order_of_the_glosses_and_is_kept(tmp_path):
    path = tmp_path / "deep" / "map.json"
    assert read_or_write_label_map(path, ["book", "drink"]) == {"book": 0, "drink": 1}
    content = json.loads(path.read_text())
    assert content == {"gloss2idx": {"book": 0, "drink": 1}, "idx2gloss": {"0": "book", "1": "drink"}}
    assert read_or_write_label_map(path, ["drink", "book"]) == {"book": 0, "drink": 1}


def test_an_existing_label_map_is_used(tmp_path):
    path = tmp_path / "map.json"
    path.write_text(json.dumps({"gloss2idx": {"a": 1, "b": 0}, "idx2gloss": {"1": "a", "0": "b"}}))
    assert read_or_write_label_map(path, ["a", "b"]) == {"a": 1, "b": 0}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("x", "not a label map"),
        ('{"gloss2idx": {}}', "not a label map"),
        ('{"gloss2idx": {"a": 0}, "idx2gloss": {"0": "b"}}', "not each other's inverse"),
        ('{"gloss2idx": {"a": 1}, "idx2gloss": {"1": "a"}}', "not each other's inverse"),
        ('{"gloss2idx": {"b": 0}, "idx2gloss": {"0": "b"}}', "no label for 'a'"),
    ],
)
def test_the_error_names_a_label_map_that_is_wrong(tmp_path, content, message):
    path = tmp_path / "map.json"
    path.write_text(content)
    with pytest.raises(LabelMapError, match=rf"map\.json.*{message}"):
        read_or_write_label_map(path, ["a"])
