"""What a row of WLASL's metadata becomes, and what is said of rows and files that are wrong."""

import json
import re
from fractions import Fraction

import pytest

from asl.config.setting import find_problems
from asl.datasets.instance import Box, Instance, Metadata, MetadataError
from asl.datasets.names import name_problem
from asl.datasets.wlasl import Wlasl, load_metadata

BARE = {"video_id": "1", "gloss": "book", "split": "val", "url": "u", "frame_start": 1, "frame_end": -1}


@pytest.fixture
def loaded(tmp_path):
    def load(*entries, **options):
        path = tmp_path / "metadata.json"
        path.write_text(json.dumps(entries))
        return load_metadata(path, **options)

    return load


def test_every_field_of_a_row_is_in_its_instance(loaded):
    more = {"source": "site", "bbox": [1, 2, 30, 40], "signer_id": 0, "fps": 25}
    (instance,) = loaded(BARE | more | {"frame_start": 26, "frame_end": 26}).instances
    assert instance == Instance(
        **{"video_id": "1", "gloss": "book", "split": "val", "url": "u", "site": "site", "signer_id": "0"},
        **{"start_s": Fraction(1), "end_s": Fraction(26, 25), "box": Box(1, 2, 30, 40)},
    )
    assert not instance.is_whole


def test_what_a_row_may_leave_out_is_unknown(loaded):
    (instance,) = loaded(BARE).instances
    assert instance == Instance(video_id="1", gloss="book", split="val", url="u")
    assert (instance.box, instance.site, instance.signer_id) == (None, "", "")
    assert (instance.start_s, instance.end_s, instance.is_whole) == (0, None, True)


def test_metadata_that_says_nothing_more_counts_at_25_frames_a_second_and_knows_no_lengths():
    metadata = Metadata((), ("book",))
    assert (metadata.fps, metadata.published_frames) == (25.0, {})
    assert (metadata.refused, metadata.others) == ((), ())


@pytest.mark.parametrize(("start", "end", "is_whole"), [(1, -1, True), (2, -1, False), (1, 9, False)])
def test_a_row_is_its_whole_source_if_it_has_neither_start_nor_end(loaded, start, end, is_whole):
    (instance,) = loaded(BARE | {"frame_start": start, "frame_end": end}).instances
    assert instance.is_whole == is_whole


def test_frames_are_counted_at_the_rate_of_the_data_set(loaded):
    segment = BARE | {"frame_start": 31, "frame_end": 60}
    metadata = loaded(segment | {"fps": 30}, segment | {"fps": 25, "video_id": "2"}, fps=30.0)
    assert (metadata.instances[0].start_s, metadata.instances[0].end_s) == (1, 2)
    assert [one.error for one in metadata.refused] == ["row 2: fps=25 is not dataset.fps=30"]
    assert metadata.fps == 30.0
    assert loaded(segment).fps == 25.0


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"frame_start": 0}, "frame_start=0 is not a whole number from 1"),
        ({"frame_start": True}, "frame_start=True is not a whole number from 1"),
        (
            {"frame_start": 9, "frame_end": 8},
            "frame_end=8 is neither -1 nor a whole number from frame_start=9",
        ),
        ({"frame_end": -2}, "frame_end=-2 is neither -1 nor a whole number from frame_start=1"),
        ({"frame_end": "9"}, "frame_end='9' is neither -1 nor a whole number from frame_start=1"),
        ({"bbox": [1, 2, 3]}, r"bbox=\[1, 2, 3\] is not four whole numbers"),
        ({"bbox": [1, 2, 3, 4, 5]}, r"bbox=\[1, 2, 3, 4, 5\] is not four whole numbers"),
        ({"bbox": [1, 2, 3, 4.5]}, r"bbox=\[1, 2, 3, 4.5\] is not four whole numbers"),
        ({"bbox": 5}, "bbox=5 is not four whole numbers"),
        ({"signer_id": 1.5}, "signer_id=1.5 is not a whole number"),
        ({"signer_id": True}, "signer_id=True is not a whole number"),
        ({"url": 5}, "url=5 is not a text"),
        ({"split": "dev"}, "split='dev' is not one of train, val, test"),
        ({"split": "a\n"}, r"split='a\\n' holds control characters"),
        ({"gloss": "a\n"}, r"gloss='a\\n' holds control characters"),
    ],
)
def test_a_row_that_makes_no_sense_is_refused_with_the_reason(loaded, changes, problem):
    (refused,) = loaded(BARE | {"video_id": "0"}, BARE | changes).refused
    assert re.fullmatch(f"row 2: {problem}", refused.error)
    assert refused.video_id == "1"


def test_refused_rows_are_listed_by_the_id_they_have(loaded):
    without = {key: value for key, value in BARE.items() if key != "video_id"}
    refused = loaded(BARE, without, BARE | {"video_id": 5}).refused
    assert [(one.video_id, one.error.split(" ")[2].split("=")[0]) for one in refused] == [
        ("", "video_id"),
        ("5", "video_id"),
    ]


def test_rows_of_further_glosses_may_claim_files_and_are_not_refused(loaded):
    other, bad = BARE | {"video_id": "2", "gloss": "go"}, BARE | {"video_id": "3", "gloss": "go", "url": 5}
    metadata = loaded(BARE, other, bad, num_glosses=1)
    assert [one.video_id for one in metadata.instances] == ["1"]
    assert [one.video_id for one in metadata.others] == ["2"]
    assert (metadata.glosses, metadata.refused) == (("book",), ())
    everything = loaded(BARE, other, bad, num_glosses=2)
    assert (everything.glosses, everything.others) == (("book", "go"), ())
    assert [one.video_id for one in everything.refused] == ["3"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", r"not a list of rows \(flat\) or of {gloss, instances} \(nested\)"),
        ("[]", r"not a list of rows \(flat\) or of {gloss, instances} \(nested\)"),
        ("[{}, 1]", "entry 2 is not an object but int"),
        ('[{"instances": 3}]', "entry 1: instances is not a list"),
        ('[{"instances": []}, {"instances": [{}, 3]}]', "entry 2, instance 2 is not an object"),
        ("x", "not a JSON file: Expecting value"),
        (b"\xff", "not a JSON file: 'utf-8' codec"),
    ],
)
def test_the_error_names_the_entry_that_is_wrong(tmp_path, content, message):
    path = tmp_path / "metadata.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(MetadataError, match=rf"metadata\.json: {message}"):
        load_metadata(path)


def test_the_published_lengths_come_with_the_metadata(tmp_path):
    (tmp_path / "wlasl.json").write_text(json.dumps([BARE]))
    settings = Wlasl(name="wlasl", metadata=str(tmp_path / "wlasl.json"), num_glosses=1)
    assert settings.load().published_frames == {}
    (tmp_path / "nslt_1.json").write_text('{"1": {"action": [7, 3, 55]}}')
    assert settings.load().published_frames == {"1": 55.0}
    settings.lengths = None
    assert settings.load().published_frames == {}


@pytest.mark.parametrize(
    ("key", "refused", "allowed"), [("num_glosses", 0, 1), ("num_glosses", -1, None), ("fps", 0.0, 0.1)]
)
def test_ranges_of_the_settings(key, refused, allowed):
    assert Wlasl(name="x").fps == 25.0
    (problem,) = find_problems(Wlasl(**{"name": "x", "metadata": "x.json", key: refused}))
    assert problem.startswith(f"{key}=")
    assert list(find_problems(Wlasl(**{"name": "x", "metadata": "x.json", key: allowed}))) == []


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("x" * 200, None),
        ("x" * 201, "is longer than 200 bytes"),
        ("é" * 101, "is longer than 200 bytes"),
        ("", "is not a text"),
        (5, "is not a text"),
        (".x", "starts with a dot"),
        ("a.b c", None),
        ("a/b", "holds a path separator"),
        ("a\\b", "holds a path separator"),
        ("a\tb", "holds control characters"),
        ("a ", "starts or ends with white space"),
    ],
)
def test_names_of_files_and_folders(name, problem):
    assert name_problem(name) == problem


@pytest.mark.parametrize(
    ("bottom", "height"), [(720, 720), (719, 720), (345, 360), (300, None), (1080, 1080), (1081, None)]
)
def test_the_height_of_the_original_is_the_usual_one_at_which_the_box_ends(loaded, bottom, height):
    (instance,) = loaded({**BARE, "bbox": [1, 2, 30, bottom]}).instances
    assert instance.box == Box(1, 2, 30, bottom, height=height)
