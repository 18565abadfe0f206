"""MS-ASL: its five files, with the traps of the real ones."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from composing import composed
from dataset_run import preprocess_and_train
from raw_videos import RATES, frame_numbers, write_raw

from asl.datasets.instance import Box, Metadata, MetadataError
from asl.datasets.msasl import Msasl
from asl.datasets.native_frames import span_of_frames

CLASSES = ["hello", "nice", "teacher", "like", "match"]
SYNONYMS = [["nice", "clean"], ["match", "pair"]]
URL = "www.youtube.com/watch?v=7y5Ye-2-ZBs"


def row(**changes: Any) -> dict[str, Any]:
    """A row as in the real file."""
    real: dict[str, Any] = {
        "org_text": "like",
        "clean_text": "like",
        "start_time": 0.0,
        "signer_id": 269,
        "signer": 53,
        "start": 0,
        "end": 52,
        "file": "SignSchool really like",
        "label": 3,
        "height": 360.0,
        "fps": 29.97,
        "end_time": 1.735,
        "url": URL,
        "text": "like",
        "box": [0.0404, 0.3353, 0.9987, 0.8869],
        "width": 640.0,
    }
    return {key: value for key, value in {**real, **changes}.items() if value is not ...}


def span(start: int, end: int, fps: float, **changes: Any) -> dict[str, Any]:
    times = {"start_time": round(start / fps, 3), "end_time": round(end / fps, 3)}
    return row(start=start, end=end, fps=fps, **times, **changes)


def write(folder: Path, **rows: Sequence[Mapping[str, Any]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    files = {"classes": CLASSES, "synonym": SYNONYMS, "train": [], "val": [], "test": [], **rows}
    for name, content in files.items():
        (folder / f"MSASL_{name}.json").write_text(json.dumps(content))
    return folder


def load(folder: Path, **settings: Any) -> Metadata:
    return Msasl(name="msasl", metadata=str(folder), **settings).load()


def errors(metadata: Metadata) -> list[str]:
    return [one.error for one in metadata.refused]


def test_a_real_row(tmp_path: Path) -> None:
    metadata = load(write(tmp_path, train=[row()]))
    (one,) = metadata.instances
    assert (one.gloss, one.split, one.signer_id) == ("like", "train", "269")
    assert one.url == f"https://{URL}"
    assert (one.start_s, one.end_s) == span_of_frames(0, 52, 29.97)
    assert one.box == Box(0.3353, 0.0404, 0.8869, 0.9987, "shares", width=640, height=360)
    assert metadata.glosses == tuple(CLASSES)


def test_urls_with_and_without_scheme_are_the_same_video(tmp_path: Path) -> None:
    spellings = [URL, f"https://{URL}", f"http://{URL}"]
    metadata = load(
        write(
            tmp_path, train=[row(url=url, start=i, start_time=i / 29.97) for i, url in enumerate(spellings)]
        )
    )
    assert {one.url for one in metadata.instances} == {f"https://{URL}"}
    assert len({one.video_id for one in metadata.instances}) == 3


def test_subsets_are_the_classes_with_a_low_label(tmp_path: Path) -> None:
    folder = write(tmp_path, train=[row(), row(label=0, text="hello"), row(label=4, text="match", url=3)])
    metadata = load(folder, num_glosses=2)
    assert ([one.gloss for one in metadata.instances], metadata.glosses) == (["hello"], ("hello", "nice"))
    assert [one.gloss for one in metadata.others] == ["like"]  # a raw file may be theirs
    assert metadata.refused == ()  # the row without url is of another class
    with pytest.raises(MetadataError, match=r"has 5 classes, fewer than dataset\.num_glosses=6"):
        load(folder, num_glosses=6)


@pytest.mark.parametrize("number", [100, 200, 500, 1000])
def test_each_subset_has_its_configuration(number: int) -> None:
    dataset = composed("preprocess", f"dataset=msasl{number}").dataset
    assert (dataset.name, dataset.num_glosses) == (f"msasl{number}", number)
    assert "MSASL_train.json" in dataset.how_to_get


def test_a_text_must_be_the_class_or_its_synonym(tmp_path: Path) -> None:
    rows = [row(label=1, text="nice"), row(label=1, text="clean", end=51), row(label=1, text="like")]
    metadata = load(write(tmp_path, train=rows))
    assert [one.gloss for one in metadata.instances] == ["nice"]
    assert errors(metadata) == [
        "MSASL_train.json, row 2: end_time=1.735 is not end=51 at fps=29.97",
        "MSASL_train.json, row 3: text='like' is not 'nice', the class of label=1, nor a synonym",
    ]
    rows[1] = row(label=1, text="clean", url="https://youtu.be/PIsUJl8BN_I")
    assert [one.gloss for one in load(write(tmp_path, train=rows)).instances] == ["nice", "nice"]


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"label": 5}, "label=5 is not the number of one of 5 classes"),
        ({"label": "3"}, "label='3' is not the number of one of 5 classes"),
        ({"text": ...}, "text=None is not 'like', the class of label=3, nor a synonym"),
        ({"url": ""}, "url='' is not a text"),
        ({"fps": ...}, "start=0, end=52, fps=None are not two numbers of frames and a rate"),
        ({"start": 0.5}, "start=0.5, end=52, fps=29.97 are not two numbers of frames and a rate"),
        ({"fps": 0.0}, "fps=0.0 is no frame rate"),
        ({"end": 0}, "start=0, end=0 is no span of frames from 0, without the last"),
        ({"fps": 25.0}, "end_time=1.735 is not end=52 at fps=25"),  # frames at the video's own rate
        ({"start": 1}, "start_time=0.0 is not start=1 at fps=29.97"),  # from 0, not from 1
        ({"end_time": float("nan")}, "end_time=nan is not end=52 at fps=29.97"),
        ({"box": [0, 0, 1]}, "box=[0, 0, 1] is not four numbers"),
    ],
)
def test_a_row_that_cannot_be_used_is_refused(tmp_path: Path, changes: dict[str, Any], error: str) -> None:
    metadata = load(write(tmp_path, train=[row(**changes), row(url="https://youtu.be/PIsUJl8BN_I")]))
    assert errors(metadata) == [f"MSASL_train.json, row 1: {error}"]
    assert len(metadata.instances) == 1


def test_seconds_box_and_size_may_be_missing(tmp_path: Path) -> None:
    missing = row(start_time=..., end_time=..., box=..., width=..., height=...)
    (one,) = load(write(tmp_path, train=[missing])).instances
    assert one.box is None
    assert one.end_s == span_of_frames(0, 52, 29.97)[1]


def test_files_without_fps_are_one_error(tmp_path: Path) -> None:
    folder = write(tmp_path, test=[row(fps=..., start_time=..., end_time=...)])
    with pytest.raises(MetadataError, match=r"MSASL_test\.json: no row has fps.* Use the authors' file"):
        load(folder)


def test_a_missing_file_is_an_error_that_says_how_to_get_it(tmp_path: Path) -> None:
    folder = write(tmp_path)
    (folder / "MSASL_val.json").unlink()
    with pytest.raises(
        MetadataError, match=r"MSASL_val\.json: no such metadata file \(dataset\.metadata\)\.\nsee there"
    ):
        load(folder, how_to_get="see there")


def test_one_segment_with_two_glosses_or_in_two_splits_is_several_instances(tmp_path: Path) -> None:
    rows = [row(), row(), row(label=4, text="match")]
    metadata = load(write(tmp_path, train=rows, test=[row()]))
    assert [(one.gloss, one.split) for one in metadata.instances] == [
        ("like", "train"),
        ("match", "train"),
        ("like", "test"),
    ]
    assert len({one.video_id for one in metadata.instances}) == 3


@pytest.mark.parametrize(
    ("test_row", "signer", "note"),
    [
        ({"signer_id": 1, "signer": 53}, "269", "signers are named by signer_id"),
        ({"signer_id": 269, "signer": 1}, "53", "signers are named by signer"),
        ({"signer_id": 269, "signer": 53}, "", "signers are unknown: neither"),
    ],
)
def test_signers_are_named_by_the_key_that_keeps_the_splits_apart(
    tmp_path: Path, test_row: dict[str, int], signer: str, note: str
) -> None:
    metadata = load(write(tmp_path, train=[row()], test=[row(**test_row)]))
    assert metadata.instances[0].signer_id == signer
    assert metadata.notes[0].startswith(f"MS-ASL: {note}")


def test_from_files_to_a_trained_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    rows: dict[str, list[dict[str, Any]]] = {}
    for signer, (split, youtube_id) in enumerate(
        {"train": "7y5Ye-2-ZBs", "val": "PIsUJl8BN_I", "test": "C37R_Ix8-qs"}.items()
    ):
        write_raw(tmp_path / f"data/raw/{youtube_id}.mkv", fps=RATES["ntsc"], duration_s=2, size=(160, 90))
        url = f"www.youtube.com/watch?v={youtube_id}"
        rows[split] = [
            span(15 * i, 15 * i + 15, 29.97, label=i % 2, text=CLASSES[i % 2], url=url, signer_id=signer)
            for i in range(4)
        ]
    write(tmp_path / "data/metadata/MS-ASL", **rows)
    clips, metrics = preprocess_and_train("dataset=msasl100", "dataset.num_glosses=2")
    assert [(clip.match, clip.num_frames, clip.fps) for clip in clips] == [
        ("youtube_id", 15, pytest.approx(29.97, abs=0.1))
    ] * 12
    for clip in clips:
        first = round(clip.start_s * 29.97 + 0.5) if clip.start_s else 0
        assert frame_numbers(tmp_path / "data" / clip.path) == list(range(first, first + 15))
    assert clips[0].box == "0.3353 0.0404 0.8869 0.9987"
    assert (metrics["dataset"], metrics["num_classes"]) == ("msasl100", 2)
    assert metrics["clips"] == {"train": 4, "val": 4, "test": 4}
    note = "MS-ASL: signers are named by signer_id"
    assert note in capsys.readouterr().out
    summary = json.loads(Path("data/metadata/msasl100_preprocess_summary.json").read_text())
    assert summary["notes"] == [note]
