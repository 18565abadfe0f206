"""Several manifests as one: labels, names that two data sets share, and clips that they have in common."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from clips import make_clip, write_clip, write_manifest_and_label_map
from composing import composed

from asl.config.setting import ConfigError
from asl.contract.frame_store import open_frames
from asl.contract.manifest import Clip, ManifestError
from asl.data.datamodule import ClipDataModule
from asl.data.join_manifests import join_clips
from asl.data.settings import DataSettings
from asl.training.checkpoints import CheckpointError
from asl.training.identity import check_same_run, checkpoint_info

SPLITS = ("train", "val", "test")
TINY = {"clip_len": 4, "resize": [20, 30], "crop_size": 16, "batch_size": 4, "num_workers": 0}


def write_two(data_dir: Path) -> list[Path]:
    """Data sets ``a`` (book, drink) and ``b`` (drink, go), which name their clips and signers alike."""
    manifests = []
    for dataset, glosses in (("a", ("book", "drink")), ("b", ("drink", "go"))):
        clips = []
        for split in SPLITS:
            for label, gloss in enumerate(glosses):
                clip = make_clip(split, label, 0, gloss=gloss)
                path = f"videos_{dataset}/{clip.path.removeprefix('videos/')}"
                grey = 40 if dataset == "a" else 200
                write_clip(data_dir / path, grey=[grey] * clip.num_frames)
                clips.append(
                    dataclasses.replace(clip, path=path, source=path, dataset=dataset, signer_id="1")
                )
        manifest = data_dir / "metadata" / f"{dataset}_manifest.csv"
        manifest.parent.mkdir(exist_ok=True)
        manifests.append(write_manifest_and_label_map(manifest, clips))
    return manifests


def module_of(manifests: list[Path], **settings: Any) -> ClipDataModule:
    return ClipDataModule(manifests, data=DataSettings(**TINY, **settings))


def test_equal_glosses_of_two_manifests_are_one_class(tmp_path: Path) -> None:
    module = module_of(write_two(tmp_path))
    assert module.glosses == ["book", "drink", "go"]
    assert {clip.gloss: clip.label for clip in module.clips} == {"book": 0, "drink": 1, "go": 2}
    assert [len(module.datasets[split]) for split in SPLITS] == [4, 4, 4]
    assert module.num_left_out == 0


def test_labels_first_leaves_out_clips_of_other_glosses(tmp_path: Path) -> None:
    module = module_of(write_two(tmp_path), labels="first")
    assert module.glosses == ["book", "drink"]
    assert [clip.dataset for clip in module.datasets["train"].clips] == ["a", "a", "b"]
    assert [clip.label for clip in module.datasets["train"].clips] == [0, 1, 1]
    assert module.num_left_out == 3


def test_names_that_two_data_sets_share_stay_apart(tmp_path: Path) -> None:
    module = module_of(write_two(tmp_path))
    train = module.datasets["train"].clips
    assert [clip.video_id for clip in train] == ["a-train000", "a-train100", "b-train000", "b-train100"]
    assert [clip.signer_id for clip in train] == ["a-1", "a-1", "b-1", "b-1"]


def test_frames_of_clips_with_the_same_video_id_are_those_of_each(tmp_path: Path) -> None:
    manifests = write_two(tmp_path)
    ClipDataModule(manifests[0], data=DataSettings(**TINY)).prepare_data()  # under the names of a alone
    module = module_of(manifests)
    module.prepare_data()
    store = module.reader.store
    assert store is not None
    stored = [open_frames(store.path(clip))[0] for clip in module.datasets["test"].clips]
    assert [round(float(frames.mean()), -1) for frames in stored] == [40, 40, 200, 200]


def test_only_names_that_both_have_are_changed() -> None:
    shared = dataclasses.replace(make_clip("train", 0, 0), signer_id="1")
    own = dataclasses.replace(make_clip("train", 0, 1), signer_id="2", copies="train000 train002")
    other = dataclasses.replace(shared, path="other.mp4", source="other.mp4")
    clips = join_clips({"a": [shared, own], "b": [other]})
    assert [clip.video_id for clip in clips] == ["a-train000", "train001", "b-train000"]
    assert [clip.signer_id for clip in clips] == ["a-1", "2", "b-1"]
    assert clips[1].copies == "a-train000 train002"


@pytest.mark.parametrize(
    "changed", [{"path": "moved.mp4"}, {"source": "other.mp4", "video_id": "other"}], ids=["source", "file"]
)
def test_manifests_with_a_common_clip_are_refused(changed: dict[str, str]) -> None:
    clip = make_clip("train", 0, 0)
    again = dataclasses.replace(clip, split="test", **changed)
    with pytest.raises(ManifestError, match=r"is in the manifests of a and b\. .*train on one of the two"):
        join_clips({"a": [clip], "b": [again]})


def test_a_changed_name_that_is_taken_is_refused() -> None:
    def named(video_id: str, source: str) -> Clip:
        return dataclasses.replace(make_clip("train", 0, 0), video_id=video_id, path=source, source=source)

    clips = {"a": [named("1", "a/1"), named("b-1", "a/b-1")], "b": [named("1", "b/1")]}
    with pytest.raises(ManifestError, match=r"video_id 1 of b .*Rename b_manifest\.csv"):
        join_clips(clips)


def test_manifests_of_the_same_name_are_refused(tmp_path: Path) -> None:
    first, _ = write_two(tmp_path)
    with pytest.raises(ManifestError, match=r"two manifests are named a_manifest\.csv"):
        module_of([first, first])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.manifest=[]", r"data\.manifest=\[\]: name a manifest file"),
        ("data.manifest=5", r"data\.manifest=5: name a manifest file"),
        ("data.manifest=[a.csv,5]", r"data\.manifest=\[a\.csv,5\]: name a manifest file"),
        ("data.manifest={a: b}", r"data\.manifest=.*: name a manifest file"),
    ],
)
@pytest.mark.parametrize("program", ["train", "evaluate"])
def test_values_that_name_no_manifests_are_refused(program: str, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        composed(program, override)


def test_several_manifests_have_no_common_label_map() -> None:
    with pytest.raises(ConfigError, match=r"data\.label_map=c\.json: several manifests"):
        composed("train", "data.manifest=[a.csv,b.csv]", "data.label_map=c.json")


def test_checkpoints_name_the_manifests_and_their_data_sets(tmp_path: Path) -> None:
    manifests = write_two(tmp_path)
    config = composed("train", f"data.manifest=[{manifests[0]},{manifests[1]}]", "model.weights=null")
    module = module_of(manifests)
    info = checkpoint_info(config, glosses=module.glosses, clips=module.clips, devices=1, precision="32-true")
    assert info["dataset"] == "a+b"
    assert info["manifest"] == [str(manifest) for manifest in manifests]
    assert list(info["clips"]["val"]) == ["a-val000", "a-val100", "b-val000", "b-val100"]


def test_resuming_with_other_glosses_names_the_manifests() -> None:
    theirs = {"glosses": ["book", "go"], "manifest": ["a.csv", "b.csv"]}
    with pytest.raises(
        CheckpointError, match=r"Resume with 'data\.manifest=\[a\.csv,b\.csv\]' and its data\.labels"
    ):
        check_same_run(
            {"asl": theirs}, Path("last.pt"), {"glosses": ["book"], "manifest": ["a.csv", "b.csv"]}
        )
