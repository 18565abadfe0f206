"""What checkpoints say about their run, which run may be resumed from them, and how the others differ."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path
from typing import Any

import pytest
from clips import make_clip
from composing import composed
from hydra.core.override_parser.overrides_parser import OverridesParser

from asl.contract.manifest import Clip
from asl.training.checkpoints import CheckpointError
from asl.training.identity import (
    changed_settings,
    check_epochs,
    check_same_run,
    checkpoint_info,
    clip_differences,
    clip_keys,
    clips_digest,
    difference,
    not_compared,
)

PATH = Path("runs/first/last.pt")
CLIPS = [make_clip("train", 0, 0), make_clip("train", 1, 1), make_clip("test", 0, 2)]
INFO: dict[str, Any] = {
    "dataset": "tiny",
    "manifest": "a.csv",
    "split": "official",
    "clips": clip_keys(CLIPS),
    "glosses": ["book", "drink", "go"],
    "model": {"name": "r3d", "width": 2},
    "sampling": {"clip_len": 4},
    "resize": [20, 30],
    "crop_size": 16,
    "seed": 0,
    "settings": {
        "data": {"flags": "keep", "batch_size": 4},
        "reader": "asl.data.readers.frames.FramesReaderSettings",
        "frames": {"fps": 25.0, "short_side": 128},
        "optim": {"lr": 0.01},
    },
}


def checkpoint(**changes: Any) -> dict[str, Any]:
    """One of a run like ``INFO`` but for ``changes``; None leaves a key out."""
    return {"asl": {key: value for key, value in {**INFO, **changes}.items() if value is not None}}


def test_a_checkpoint_says_what_decides_the_result() -> None:
    config = composed("train", "data.manifest=a.csv", "model=r3d", "model.weights=null", "seed=3")
    info = checkpoint_info(config, glosses=("book", "drink"), clips=CLIPS, devices=2, precision="bf16-mixed")
    assert (info["manifest"], info["seed"], info["glosses"]) == ("a.csv", 3, ["book", "drink"])
    assert (info["clips"], info["digest"]) == (clip_keys(CLIPS), clips_digest(clip_keys(CLIPS)))
    assert info["model"]["name"] == "r3d"
    settings = info["settings"]
    assert (settings["trainer"]["devices"], settings["trainer"]["precision"]) == (2, "bf16-mixed")
    assert settings["loss"]["name"] == "cross_entropy"
    check_same_run({"asl": info}, PATH, info)
    assert changed_settings({"asl": info}, info) == []


def test_keys_of_clips_are_those_of_earlier_checkpoints() -> None:
    """Another key for the same clip would refuse every run that is resumed."""
    assert clip_keys(CLIPS[:1]) == {"train": {"train000": "b7dc33e99472"}, "val": {}, "test": {}}
    assert clips_digest(clip_keys(CLIPS[:1])) == "8d0355b35d6d27814430"


def test_sources_with_a_path_are_told_apart_by_their_folders() -> None:
    """``train/hello/1.mp4`` and ``test/hello/1.mp4`` can be equally long."""

    def key(source: str, match: str) -> str:
        clip = dataclasses.replace(CLIPS[0], source=source, match=match)
        return clip_keys([clip])["train"][clip.video_id]

    assert key("train/hello/1.mp4", "path") != key("test/hello/1.mp4", "path")
    assert key("old/1.mp4", "video_id") == key("new/1.mp4", "video_id") == key("1.mp4", "")


def test_the_key_of_a_clip_changes_with_label_source_and_segment_only() -> None:
    clip = CLIPS[0]

    def key(**changes: Any) -> str:
        return clip_keys([dataclasses.replace(clip, **changes)])["train"][clip.video_id]

    same = key()
    assert key(path="elsewhere.mp4", source=f"moved/{clip.source}", start_s=0.0004, fps=30.0) == same
    for changes in ({"label": 1}, {"source": "other.mp4"}, {"start_s": 0.001}, {"end_s": clip.end_s + 0.001}):
        assert key(**changes) != same, changes


def test_the_digest_is_of_all_clips_in_any_order() -> None:
    digest = clips_digest(clip_keys(CLIPS))
    assert clips_digest(clip_keys(CLIPS[::-1])) == digest
    assert clips_digest(clip_keys(CLIPS[1:])) != digest


@pytest.mark.parametrize(
    ("theirs", "message"),
    [
        (
            ["book", "eat", "go"],
            "3 glosses there, 3 in the label map now; label 1 is 'eat' there, 'drink' now",
        ),
        (["book", "car", "go"], "label 1 is 'car' there, 'drink' now"),
        (["book", "", "eat"], "label 2 is 'eat' there, 'go' now"),
        (["book", "drink"], "2 glosses there, 3 in the label map now; label 2 is '(none)' there, 'go' now"),
        (["book", "drink", "go", "eat"], "4 glosses there, .*; label 3 is 'eat' there, '(none)' now"),
        (["book", "drink", "go", ""], "4 glosses there, .*; label 3 is '' there, '(none)' now"),
    ],
)
def test_another_label_map_is_refused_and_the_first_other_gloss_named(
    theirs: list[str], message: str
) -> None:
    with pytest.raises(CheckpointError, match=message.replace("(none)", r"\(none\)")):
        check_same_run(checkpoint(glosses=theirs), PATH, INFO)


@pytest.mark.parametrize(
    ("theirs", "ours", "message"),
    [
        (
            {},
            {"model": {"name": "r3d", "width": 4}},
            r"another network: model.width=2 there, 4 now\. Set these keys to the values there",
        ),
        ({}, {"model": {"name": "mc3", "width": 2}}, "another network: model=r3d there, mc3 now"),
        ({}, {"split": "signer, fold 1 of 5"}, r"\(official there, signer, fold 1 of 5 now\)"),
        ({"split": None}, {"split": "signer"}, r"\(official there, signer now\)"),
        ({"split": "signer"}, {}, r"\(signer there, official now\).* data\.folds"),
    ],
)
def test_another_network_or_split_is_refused(
    theirs: dict[str, Any], ours: dict[str, Any], message: str
) -> None:
    with pytest.raises(CheckpointError, match=message):
        check_same_run(checkpoint(**theirs), PATH, {**INFO, **ours})


@pytest.mark.parametrize(
    "theirs",
    [
        {},
        {"epoch": 3},
        {"glosses": ["book", "", "go"]},
        {"split": None},
        {"clips": None, "settings": None},
        {"settings": {**INFO["settings"], "frames": {"fps": 25.0, "short_side": 128}}},
    ],
    ids=[
        "same",
        "with an epoch",
        "a gloss without clips",
        "without a split",
        "without clips",
        "without frames.crop",
    ],
)
def test_the_same_run_may_be_resumed(theirs: dict[str, Any]) -> None:
    check_same_run(checkpoint(**theirs), PATH, INFO)


@pytest.mark.parametrize(
    ("manifest", "flags", "way_out"),
    [
        ("a.csv", "keep", "data.manifest=a.csv as it was"),
        ("b.csv", "keep", "data.manifest=b.csv"),
        ("0.csv", "keep", "data.manifest=0.csv"),
        ("a.csv", "drop_train", "data.manifest=a.csv data.flags=drop_train"),
        ("a.csv", "none", "data.manifest=a.csv data.flags=none"),
        ("b.csv", "drop_train", "data.manifest=b.csv data.flags=drop_train"),
    ],
)
def test_other_clips_are_refused_with_the_settings_that_give_those_of_the_checkpoint(
    manifest: str, flags: str, way_out: str
) -> None:
    settings = {**INFO["settings"], "data": {"flags": flags, "batch_size": 4}}
    theirs = checkpoint(manifest=manifest, settings=settings, clips=clip_keys(CLIPS[1:]))
    with pytest.raises(CheckpointError) as raised:
        check_same_run(theirs, PATH, INFO)
    assert f"{PATH} was trained on other clips than those of a.csv now: 1 more in train" in str(raised.value)
    assert f"({way_out})" in str(raised.value)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"sampling": {"clip_len": 3}, "crop_size": 8}, "data.clip_len=4 there, 3 now, data.crop_size=16"),
        ({"resize": [20, 20]}, "data.resize="),
        ({"fit": "pad"}, "data.fit=squeeze there, pad now"),
        ({"crop": "signer"}, "data.crop=none there, signer now"),
        ({"settings": {**INFO["settings"], "frames": {"fps": 12.5, "short_side": 128}}}, "frames.fps=25.0"),
        ({"settings": {**INFO["settings"], "frames": {"fps": 25.0, "short_side": 96}}}, "frames.short_side="),
        (
            {"settings": {**INFO["settings"], "frames": {"crop": "signer"}}},
            "frames.crop=none there, signer now",
        ),
        (
            {"settings": {**INFO["settings"], "reader": "asl.data.readers.decord.DecordReaderSettings"}},
            "reader=frames there, decord now.",
        ),
    ],
    ids=[
        "sampling and crop",
        "resize",
        "fit",
        "crop",
        "frames.fps",
        "frames.short_side",
        "frames.crop",
        "reader",
    ],
)
def test_another_input_of_evaluation_is_refused(changes: dict[str, Any], named: str) -> None:
    now = {**INFO, **changes}
    with pytest.raises(CheckpointError) as raised:
        check_same_run(checkpoint(), PATH, now)
    assert f"{PATH} was measured on val with another input: {named}" in str(raised.value)
    assert f"model.weights={PATH}" in str(raised.value)
    assert changed_settings(checkpoint(), now) == []  # said once
    if "settings" in changes:  # an earlier version's checkpoint does not hold these
        check_same_run(checkpoint(settings=None), PATH, now)


def test_differences_of_clips_are_counted_by_kind_and_named() -> None:
    theirs, ours = clip_keys(CLIPS), clip_keys(CLIPS)
    assert clip_differences(theirs, ours) == []
    added = [make_clip("val", 2, number) for number in range(5)]
    assert clip_differences(theirs, clip_keys([*CLIPS, *added])) == [
        "5 more in val (val200, val201, val202 and 2 more)"
    ]
    assert clip_differences(theirs, clip_keys(CLIPS[1:])) == ["1 fewer in train (train000)"]
    moved = [dataclasses.replace(CLIPS[0], split="val"), *CLIPS[1:]]
    assert clip_differences(theirs, clip_keys(moved)) == ["1 moved from train to val (train000)"]
    assert clip_differences(clip_keys(moved), ours) == ["1 moved from val to train (train000)"]
    relabelled = [dataclasses.replace(CLIPS[0], label=2), *CLIPS[1:]]
    assert clip_differences(theirs, clip_keys(relabelled)) == [
        "1 with another label or segment in train (train000)"
    ]


@pytest.mark.parametrize(
    ("changes", "listed"),
    [
        ({}, []),
        ({"seed": 5}, ["seed=0 there, 5 now"]),
        (
            {
                "dataset": "other",
                "settings": {**INFO["settings"], "data": {"flags": "keep", "batch_size": 2}},
            },
            ["data.batch_size=4 there, 2 now", "dataset.name=tiny there, other now"],
        ),
        ({"settings": {"data": INFO["settings"]["data"]}}, ["optim.lr=0.01 there, (not set) now"]),
        (
            {"settings": {**INFO["settings"], "optim": {"lr": 0.01, "freeze_epochs": 0, "ema_decay": None}}},
            [],
        ),
        (
            {"settings": {**INFO["settings"], "optim": {"lr": 0.01, "freeze_epochs": 2, "ema_decay": 0.9}}},
            ["optim.freeze_epochs=0 there, 2 now", "optim.ema_decay=null there, 0.9 now"],
        ),
    ],
)
def test_what_may_change_is_listed_if_it_did(changes: dict[str, Any], listed: list[str]) -> None:
    assert changed_settings(checkpoint(), {**INFO, **changes}) == listed


def test_what_a_checkpoint_of_an_earlier_version_does_not_hold_is_not_compared_but_said() -> None:
    earlier = checkpoint(clips=None, settings=None)
    assert changed_settings(earlier, {**INFO, "seed": 1}) == ["seed=0 there, 1 now"]
    assert not_compared(earlier) == [
        "the clips of each split",
        "the settings of optim, loss, augment, trainer, reader, frames",
    ]
    assert not_compared(checkpoint(clips=None)) == ["the clips of each split"]
    assert not_compared(checkpoint()) == []


def test_the_order_of_the_training_clips_counts_and_that_of_the_others_does_not() -> None:
    other = {**INFO, "clips": clip_keys(CLIPS[::-1])}
    assert changed_settings(checkpoint(), other) == ["the order of the training clips"]
    assert changed_settings({"asl": other}, INFO) == ["the order of the training clips"]
    assert changed_settings(checkpoint(), {**INFO, "clips": clip_keys([CLIPS[2], *CLIPS[:2]])}) == []


@pytest.mark.parametrize(("done", "folder"), [(1, "other"), (2, "other"), (3, "first"), (2, "first")])
def test_a_run_may_be_trained_on_and_a_finished_one_measured_in_its_folder(done: int, folder: str) -> None:
    check_epochs({"asl": {"epoch": done}}, PATH, Path("runs") / folder, max_epochs=3)


def test_a_run_that_has_stopped_early_is_measured_in_its_folder_only() -> None:
    check_epochs({"asl": {"epoch": 2}}, PATH, PATH.parent, max_epochs=3, stopped=True)
    with pytest.raises(CheckpointError, match=r"stopped early, after 2 epochs.* paths\.checkpoint_dir=runs"):
        check_epochs({"asl": {"epoch": 2}}, PATH, Path("runs/other"), max_epochs=3, stopped=True)


@pytest.mark.parametrize(("done", "folder"), [(3, "other"), (4, "other"), (4, "first")])
def test_a_run_with_more_epochs_or_a_finished_one_in_another_folder_is_refused(
    done: int, folder: str
) -> None:
    with pytest.raises(CheckpointError) as raised:
        check_epochs({"asl": {"epoch": done}}, PATH, Path("runs") / folder, max_epochs=3)
    compared = "more than" if done > 3 else "as many as"
    assert f"has {done} epochs, {compared} trainer.max_epochs=3" in str(raised.value)
    assert f"paths.checkpoint_dir={PATH.parent} trainer.max_epochs={done} resume={PATH}" in str(raised.value)


def test_paths_of_a_sweep_are_quoted_as_the_shell_and_hydra_need_it() -> None:
    path = Path("runs/seed=1/last.pt")
    with pytest.raises(CheckpointError) as raised:
        check_epochs({"asl": {"epoch": 3}}, path, Path("other"), max_epochs=3)
    _, _, advice = str(raised.value).partition("on test, set ")
    typed = shlex.split(advice.partition(". To start")[0])
    parsed = OverridesParser.create().parse_overrides(typed)
    assert {one.key_or_group: str(one.value()) for one in parsed} == {
        "paths.checkpoint_dir": str(path.parent),
        "trainer.max_epochs": "3",
        "resume": str(path),
    }


@pytest.mark.parametrize(
    ("done", "planned", "said"),
    [
        (10, 60, "has 10 epochs, more than trainer.max_epochs=5"),
        (5, 60, "has 5 epochs, as many as trainer.max_epochs=5"),
        (10, 10, "is of a run that is finished: it has 10 epochs, more than trainer.max_epochs=5"),
        (10, None, "has 10 epochs, more than trainer.max_epochs=5"),
        (5, None, "is of a run that is finished: it has 5 epochs, as many as trainer.max_epochs=5"),
    ],
)
def test_only_a_run_with_all_its_own_epochs_is_called_finished(
    done: int, planned: int | None, said: str
) -> None:
    settings = {"settings": {"trainer": {"max_epochs": planned}}} if planned else {}
    with pytest.raises(CheckpointError) as raised:
        check_epochs({"asl": {"epoch": done, **settings}}, PATH, Path("runs/other"), max_epochs=5)
    assert str(raised.value).startswith(f"{PATH} {said}. ")


def test_keys_that_differ_are_named_with_both_values() -> None:
    theirs = {"a": {"b": 1, "c": {"d": "x"}}, "e": 2, "f": {"g": 1}, "gone": None}
    ours = {"new": True, "a": {"b": 1, "c": {"d": "w"}}, "e": 3, "f": 1}
    assert difference(theirs, theirs) == []
    assert difference(theirs, ours, "p.") == [
        "p.new=(not set) there, true now",
        "p.a.c.d=x there, w now",
        "p.e=2 there, 3 now",
        "p.f={'g': 1} there, 1 now",
        "p.gone=null there, (not set) now",
    ]


def test_keys_that_differ_are_written_as_on_the_command_line() -> None:
    theirs = {"loss": {"name": "cross_entropy", "smoothing": 0.1}, "a": [20, 30], "b": True}
    ours = {"loss": {"name": "focal", "gamma": 2.0, "smoothing": 0.2}, "a": None, "b": False}
    assert difference(theirs, ours) == [
        "loss=cross_entropy there, focal now",
        "loss.smoothing=0.1 there, 0.2 now",
        "a=[20,30] there, null now",
        "b=true there, false now",
    ]
    same_choice = {"loss": {"name": "cross_entropy", "smoothing": 0.2}}
    assert difference({"loss": theirs["loss"]}, same_choice) == ["loss.smoothing=0.1 there, 0.2 now"]


def test_a_checkpoint_without_later_augmentation_counts_as_having_none() -> None:
    config = composed("train", "model.weights=null")
    info = checkpoint_info(config, glosses=("book", "drink"), clips=CLIPS, devices=1, precision="32-true")
    early = {**info["settings"]["augment"]}
    for name in ("shift", "drop", "blur", "downscale", "noise", "blocks", "erase"):
        del early[name]
    theirs = {"asl": {**info, "settings": {**info["settings"], "augment": early}}}
    for name in ("fit", "crop", "enlarge"):
        del theirs["asl"][name]
    check_same_run(theirs, PATH, info)
    assert changed_settings(theirs, info) == []
    changed = {**info["settings"], "augment": {**info["settings"]["augment"], "noise": 0.1}}
    assert changed_settings(theirs, {**info, "settings": changed}) == ["augment.noise=0.0 there, 0.1 now"]


def test_other_boxes_of_the_signers_are_refused_where_they_decide_the_picture() -> None:
    def info_of(clips: list[Clip], *overrides: str) -> dict[str, Any]:
        config = composed("train", "model.weights=null", "data.manifest=a.csv", *overrides)
        return checkpoint_info(config, glosses=("book", "drink"), clips=clips, devices=1, precision="32-true")

    moved = [dataclasses.replace(CLIPS[0], box="0.1 0 0.9 1"), *CLIPS[1:]]
    check_same_run({"asl": info_of(CLIPS)}, PATH, info_of(moved))
    signer = ("data.crop=signer", "data.resize=[128,128]")
    check_same_run({"asl": info_of(moved, *signer)}, PATH, info_of(moved[::-1], *signer))
    with pytest.raises(CheckpointError, match=r"other boxes of the signers .* those of a\.csv now"):
        check_same_run({"asl": info_of(CLIPS, *signer)}, PATH, info_of(moved, *signer))
