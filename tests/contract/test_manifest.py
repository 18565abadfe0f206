"""Writing and reading manifests, and the errors for malformed ones."""

import csv
import dataclasses

import pytest
from clips import make_clip

from asl.contract.manifest import COLUMNS, ManifestError, copy_flags, read_manifest, write_manifest


@pytest.fixture
def path(tmp_path):
    return tmp_path / "metadata" / "x_manifest.csv"


def test_a_written_manifest_is_read_back(path):
    clips = [
        make_clip("train", 0, 1, gloss='thank, "you"'),
        dataclasses.replace(make_clip("val", 1, 2), path="/abs/é.mp4", fps=29.97003),
    ]
    write_manifest(path, clips)
    assert read_manifest(path) == clips
    assert path.read_text().splitlines()[0].startswith("split,gloss,label,video_id,path,num_frames,")
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_columns_of_a_later_version_are_ignored(path):
    write_manifest(path, [make_clip("train", 0, 1)])
    lines = path.read_text().splitlines()
    path.write_text(f"{lines[0]},more\n{lines[1]},x\n")
    assert read_manifest(path) == [make_clip("train", 0, 1)]


def test_a_byte_order_mark_is_ignored_and_another_encoding_is_an_error(path):
    clip = make_clip("train", 0, 1, gloss="é")
    write_manifest(path, [clip])
    text = path.read_text(encoding="utf-8")
    path.write_text(text, encoding="utf-8-sig")
    assert read_manifest(path) == [clip]
    path.write_text(text, encoding="latin-1")
    with pytest.raises(ManifestError, match=r"x_manifest\.csv is damaged: .*python preprocess\.py"):
        read_manifest(path)


def test_a_manifest_without_the_last_column_can_be_read(path):
    clip = dataclasses.replace(make_clip("train", 0, 1), dataset="signs", box="0.1 0 0.9 1")
    write_manifest(path, [clip])
    header, row = path.read_text().splitlines()
    assert (header.rsplit(",", 1)[1], row.rsplit(",", 1)[1]) == ("box", "0.1 0 0.9 1")
    path.write_text(f"{header.removesuffix(',box')}\n{row.removesuffix(',0.1 0 0.9 1')}\n")
    assert read_manifest(path) == [dataclasses.replace(clip, box="")]


@pytest.mark.parametrize(("name", "dataset"), [("wlasl100_manifest.csv", "wlasl100"), ("other.csv", "")])
def test_in_a_manifest_of_an_earlier_version_the_data_set_is_that_of_the_name(tmp_path, name, dataset):
    clips = [dataclasses.replace(make_clip("train", 0, number), signer_id=str(number)) for number in (1, 2)]
    write_manifest(tmp_path / name, clips)
    with (tmp_path / name).open(newline="") as file:
        rows = [row[:-2] for row in csv.reader(file)]
    rows[2] = ["-1" if value == "2" else value for value in rows[2]]
    with (tmp_path / name).open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    assert read_manifest(tmp_path / name) == [
        dataclasses.replace(clips[0], dataset=dataset),
        dataclasses.replace(clips[1], dataset=dataset, signer_id=""),
    ]


def write_rows(path, *rows):
    path.parent.mkdir(parents=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": "x"}, "line 2: label='x' is not of type int"),
        ({"fps": ""}, "line 2: fps='' is not of type float"),
        ({"split": "dev"}, "line 2: split='dev' is not one of train, val, test"),
        ({"label": "-1"}, "line 2: label=-1 is negative"),
        ({"box": "0 0 1"}, "line 2: box='0 0 1' is not left, top, right, bottom in shares"),
        ({"box": "0 0.5 1 nan"}, "line 2: box='0 0.5 1 nan' is not left"),
        ({"box": "0.6 0 0.4 1"}, "line 2: box='0.6 0 0.4 1' is not left"),
        ({"num_frames": "0"}, "line 2: num_frames=0 is not above 0"),
        ({"fps": "nan"}, "line 2: fps=nan is not above 0"),
        ({"duration_s": "inf"}, "line 2: duration_s=inf is not above 0"),
    ],
)
def test_the_error_names_line_column_and_value(path, changes, message):
    write_rows(path, dataclasses.asdict(make_clip("train", 0, 1)) | changes)
    with pytest.raises(ManifestError, match=message):
        read_manifest(path)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({}, "video_id train001 occurs twice"),
        ({"video_id": "2", "gloss": "go"}, "label 0 stands for 'book' and 'go'"),
        ({"video_id": "2", "label": 2}, "gloss 'book' has labels 0 and 2"),
    ],
)
def test_rows_that_contradict_each_other_are_an_error(path, second, message):
    first = dataclasses.asdict(make_clip("train", 0, 1))
    write_rows(path, first, first | second)
    with pytest.raises(ManifestError, match=message):
        read_manifest(path)
    path.unlink()
    path.parent.rmdir()
    write_rows(path, first | second, first)
    with pytest.raises(ManifestError, match=r"occurs twice|stands for 'go' and 'book'|has labels 2 and 0"):
        read_manifest(path)


def test_the_error_of_a_missing_manifest_or_column_names_the_command(path):
    with pytest.raises(ManifestError, match=r"no such manifest.*python preprocess\.py"):
        read_manifest(path)
    path.parent.mkdir(parents=True)
    path.write_text("split,gloss\n")
    with pytest.raises(ManifestError, match=rf"the same dataset keys, or .*data\.manifest=: {path}$"):
        read_manifest(path.with_name("other_manifest.csv"))
    with pytest.raises(ManifestError, match="column label, video_id"):
        read_manifest(path)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (("train", "book"), ("train", "book"), {"duplicate"}),
        (("train", "book"), ("train", "go"), {"conflict"}),
        (("train", "book"), ("test", "book"), {"leakage"}),
        (("train", "book"), ("test", "go"), {"leakage", "conflict"}),
    ],
)
def test_flags_of_two_copies_depend_on_their_splits_and_glosses(first, second, expected):
    assert copy_flags(first, second) == copy_flags(second, first) == expected


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("", True), ("duplicate", True), ("leakage", False), ("duplicate suspect", False), ("bitstream", False)],
)
def test_a_clip_is_clean_with_no_flag_but_duplicate(flags, expected):
    assert dataclasses.replace(make_clip("train", 0, 0), flags=flags).is_clean is expected
