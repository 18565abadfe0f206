"""WLASL's metadata as instances; rows that cannot be used are refused."""

import json
import re

import pytest

from asl.datasets.instance import MetadataError
from asl.datasets.wlasl import load_metadata


def row(video_id="1", gloss="book", **changes):
    return {
        "bbox": [1, 2, 30, 40],
        "fps": 25,
        "frame_end": -1,
        "frame_start": 1,
        "instance_id": 0,
        "signer_id": 7,
        "source": "site",
        "split": "train",
        "url": f"http://site.example/{video_id}.mp4",
        "variation_id": 0,
        "video_id": video_id,
        "gloss": gloss,
    } | changes


@pytest.fixture
def load(tmp_path):
    def load(content, **options):
        path = tmp_path / "metadata.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return load_metadata(path, **options)

    return load


def nested(rows):
    glosses = dict.fromkeys(one["gloss"] for one in rows)
    without = [{k: v for k, v in one.items() if k != "gloss"} | {"of": one["gloss"]} for one in rows]
    return [{"gloss": g, "instances": [one for one in without if one["of"] == g]} for g in glosses]


def test_flat_and_nested_forms_say_the_same(load):
    rows = [row("1", "book"), row("2", "book", split="val"), row("3", "drink", frame_start=5, frame_end=60)]
    assert load(rows) == load(nested(rows))
    assert load(rows).glosses == ("book", "drink")
    assert [one.is_whole for one in load(rows).instances] == [True, True, False]


@pytest.mark.parametrize("form", [list, nested])
def test_first_glosses_are_kept_in_the_metadatas_order(load, form):
    rows = [row("1", "zebra"), row("2", "apple"), row("3", "zebra"), row("4", "mango")]
    metadata = load(form(rows), num_glosses=2)
    assert metadata.glosses == ("zebra", "apple")
    assert sorted(one.video_id for one in metadata.instances) == ["1", "2", "3"]


def test_more_glosses_than_there_are_is_an_error(load):
    with pytest.raises(MetadataError, match=r"has 1 glosses, fewer than .*num_glosses=100.*num_glosses=null"):
        load([row()], num_glosses=100)


@pytest.mark.parametrize("gloss", ["../x", "/etc", "hurdle/trip", "a\\b", "..", "كتاب", "x" * 300])
def test_a_gloss_is_any_text_and_its_folder_stays_inside(load, gloss):
    metadata = load([row("1"), row("2", gloss=gloss)])
    assert metadata.glosses == ("book", gloss)
    assert metadata.folders["book"] == "book"
    assert re.fullmatch(r"([A-Za-z0-9-]{1,60}-)?[0-9a-f]{8}", metadata.folders[gloss])


@pytest.mark.parametrize("gloss", ["a\x00b", "a\nb", "\x1b[2J", "", " a", 5, None])
def test_a_gloss_that_is_no_text_is_refused(load, gloss):
    metadata = load([row("1"), row("2", gloss=gloss)])
    assert ([one.video_id for one in metadata.instances], len(metadata.refused)) == (["1"], 1)


@pytest.mark.parametrize("key", ["split", "video_id"])
@pytest.mark.parametrize(
    "name",
    ["../x", "/etc", "a/b", "a\\b", "..", ".", "a\x00b", "a\nb", "\x1b[2J", "", " a", 5, None, "x" * 300],
)
def test_names_that_could_leave_the_folder_are_refused_with_their_row(load, key, name):
    metadata = load([row("1"), row("2", **{key: name}) if key != "video_id" else row(name), row("3")])
    assert [one.video_id for one in metadata.instances] == ["1", "3"]
    (refused,) = metadata.refused
    assert refused.error.startswith("row 2: ")
    assert key in refused.error


@pytest.mark.parametrize(
    "changes",
    [
        {"split": "dev"},
        {"frame_start": 0},
        {"frame_start": "1"},
        {"frame_start": 10, "frame_end": 9},
        {"frame_end": 0},
        {"frame_end": True},
        {"fps": 30},
        {"bbox": [1, 2, 3]},
        {"signer_id": "x"},
        {"url": None},
    ],
)
def test_rows_that_make_no_sense_are_refused_and_the_others_go_on(load, changes):
    metadata = load([row("1"), row("2", **changes)])
    assert [one.video_id for one in metadata.instances] == ["1"]
    key = list(changes)[-1]
    assert f"{key}=" in metadata.refused[0].error


def test_a_nested_row_is_named_by_its_place(load):
    rows = nested([row("1"), row("2", "drink"), row("3", "drink", frame_start=0)])
    assert load(rows).refused[0].error.startswith("entry 2, instance 2: frame_start=0")


def test_different_rows_of_one_video_id_are_all_refused_and_equal_ones_count_once(load):
    metadata = load([row("1"), row("2"), row("2", "drink"), row("3"), row("3")])
    assert [one.video_id for one in metadata.instances] == ["1", "3"]
    assert "row 2 and row 3: video_id='2'" in metadata.refused[0].error


def test_a_video_id_of_a_kept_and_a_left_out_gloss_is_refused(load):
    rows = [row("1"), row("2"), row("2", "eat"), row("3", "eat"), row("4", "eat"), row("4", "go")]
    metadata = load(rows, num_glosses=1)
    assert [one.video_id for one in metadata.instances] == ["1"]
    assert [one.video_id for one in metadata.others] == ["2", "2", "3", "4", "4"]  # a file may be theirs
    (refused,) = metadata.refused
    assert "row 2 and row 3: video_id='2'" in refused.error


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", "[1]", '[{"instances": 3}]', '[{"instances": [3]}]']
)
def test_what_is_no_metadata_is_one_clear_error(load, content):
    with pytest.raises(MetadataError, match=r"metadata\.json"):
        load(content)


def test_a_missing_file_says_how_to_get_it(tmp_path):
    with pytest.raises(MetadataError, match=r"no such metadata file.*\nask the authors"):
        load_metadata(tmp_path / "x.json", how_to_get="ask the authors")
