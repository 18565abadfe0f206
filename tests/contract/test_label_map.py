"""The label map is written once and never changed."""

import json

import pytest
from clips import make_clip

from asl.contract.label_map import (
    LabelMapError,
    check_labels,
    label_map_path,
    read_label_map,
    read_or_write_label_map,
)


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
        ('{"gloss2idx": {"a": 1}, "idx2gloss": {"1": "a"}}', "not each other's inverse over 0…0"),
        ('{"gloss2idx": {"a": 0, "b": 0}, "idx2gloss": {"0": "b"}}', "not each other's inverse over 0…1"),
        (
            '{"gloss2idx": {"a": 0, "b": 2, "c": 1}, "idx2gloss": {"0": "a", "1": "b", "2": "c"}}',
            "not each other's inverse over 0…2",
        ),
        ('{"gloss2idx": {"b": 0}, "idx2gloss": {"0": "b"}}', "no label for 'a'"),
    ],
)
def test_the_error_names_a_label_map_that_is_wrong(tmp_path, content, message):
    path = tmp_path / "map.json"
    path.write_text(content)
    with pytest.raises(LabelMapError, match=rf"map\.json.*{message}"):
        read_or_write_label_map(path, ["a"])


def test_more_than_ten_labels_are_ordered_by_number_and_glosses_stay_readable(tmp_path):
    glosses = [f"é{number}" for number in range(12)]
    read_or_write_label_map(tmp_path / "map.json", glosses)
    assert read_label_map(tmp_path / "map.json") == glosses
    assert '"é11": 11' in (tmp_path / "map.json").read_text(encoding="utf-8")


def test_the_label_map_of_a_manifest_lies_beside_it(tmp_path):
    assert label_map_path(tmp_path / "x_manifest.csv") == tmp_path / "x_label_map.json"
    with pytest.raises(LabelMapError, match=r"x_label_map\.json: no such label map"):
        read_label_map(tmp_path / "x_label_map.json")


@pytest.mark.parametrize(("label", "gloss"), [(0, "drink"), (1, "book"), (2, "drink")])
def test_a_clip_with_another_label_than_its_gloss_is_an_error(label, gloss):
    good = [make_clip("train", 0, 1, gloss="book"), make_clip("train", 1, 1, gloss="drink")]
    check_labels("map.json", ["book", "drink"], good)
    found = repr(["book", "drink"][label]) if label < 2 else "nothing"
    message = rf"label {label} of clip train{label}02 stands for '{gloss}' .* and for {found} in map\.json"
    with pytest.raises(LabelMapError, match=message):
        check_labels("map.json", ["book", "drink"], [*good, make_clip("train", label, 2, gloss=gloss)])
