"""The official split, and folds in which no signer is in two splits."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from clips import GLOSSES, make_clip
from composing import composed
from sklearn.model_selection import StratifiedGroupKFold

from asl.config.setting import ConfigError
from asl.contract.manifest import SPLITS, Clip, ManifestError
from asl.data.split import SplitSettings, split_clips


def clips_of_signers(signers: int = 20) -> list[Clip]:
    """Clips of ``signers`` signers, each of whom signs each gloss twice."""
    return [
        dataclasses.replace(make_clip("train", label, number), signer_id=str(number // 2))
        for label in range(len(GLOSSES))
        for number in range(2 * signers)
    ]


def parts(clips: list[Clip], **settings: Any) -> dict[str, str]:
    """The split of each clip, in five folds by signer."""
    assigned = split_clips(clips, SplitSettings(**{"split": "signer", **settings}))
    return {clip.video_id: clip.split for clip in assigned}


def test_the_official_split_is_the_default() -> None:
    clips = [make_clip("train", 0, 0), make_clip("test", 1, 0), make_clip("val", 0, 0)]
    assert split_clips(clips, SplitSettings()) == clips


def test_wlasls_authors_train_on_train_and_val_and_choose_the_epoch_on_test() -> None:
    clips = [make_clip("train", 0, 0), make_clip("test", 1, 0), make_clip("val", 0, 0)]
    copy = dataclasses.replace(clips[2], copies=clips[0].video_id, flags="leakage")
    settings = SplitSettings(split="wlasl_authors")
    assigned = split_clips([*clips[:2], copy], settings)
    assert [(clip.video_id, clip.split, clip.flags) for clip in assigned] == [
        ("train000", "train", ""),
        ("val000", "train", "duplicate"),
        ("test100", "test", ""),
    ]
    assert (settings.selection, settings.figures) == ("wlasl_authors", {"wlasl_authors": "test"})
    assert [settings.figure_on(split) for split in SPLITS] == ["train", "val", "wlasl_authors"]
    official = SplitSettings()
    assert (official.selection, official.figures) == ("val", {"val": "val", "test": "test"})
    assert [official.figure_on(split) for split in SPLITS] == list(SPLITS)


def test_no_signer_is_in_two_splits_and_every_class_is_in_all() -> None:
    clips = clips_of_signers()
    split_of = parts(clips)
    for signer in range(20):
        assert len({split_of[one.video_id] for one in clips if one.signer_id == str(signer)}) == 1
    for gloss in GLOSSES:
        assert {split_of[one.video_id] for one in clips if one.gloss == gloss} == {"train", "val", "test"}


def test_every_clip_is_in_test_in_exactly_one_fold() -> None:
    clips = clips_of_signers()
    tested = [v for fold in range(5) for v, split in parts(clips, fold=fold).items() if split == "test"]
    assert sorted(tested) == sorted(clip.video_id for clip in clips)


def test_folds_depend_on_fold_seed_and_not_on_the_order_of_clips() -> None:
    clips = clips_of_signers()
    assert parts(clips) == parts(clips[::-1])
    assert parts(clips) != parts(clips, fold_seed=1)


def test_clips_of_unknown_signers_are_train_in_every_fold() -> None:
    unknown = [make_clip(split, 0, number) for split in ("val", "test") for number in range(4)]
    for fold in range(5):
        split_of = parts([*clips_of_signers(), *unknown], fold=fold)
        assert {split_of[clip.video_id] for clip in unknown} == {"train"}


def test_each_part_needs_a_known_signer() -> None:
    assert set(parts(clips_of_signers(signers=5)).values()) == {"train", "val", "test"}
    unknown = make_clip("test", 0, 99)
    for signers in (2, 4):
        with pytest.raises(
            ManifestError,
            match=rf"{signers} known signers are too few for data\.folds=5\..*data\.split=official",
        ):
            parts([*clips_of_signers(signers), unknown])


def test_val_is_the_part_after_test_and_train_are_all_others() -> None:
    clips = clips_of_signers(signers=6)
    folds = [parts(clips, fold=fold, folds=3) for fold in range(3)]
    for fold, after in ((0, 1), (1, 2), (2, 0)):
        for clip in clips:
            if folds[after][clip.video_id] == "test":
                assert folds[fold][clip.video_id] == "val"
            elif folds[fold][clip.video_id] != "test":
                assert folds[fold][clip.video_id] == "train"


def test_clips_are_sorted_by_split_and_keep_their_order_within_it() -> None:
    clips = clips_of_signers()[::-1]
    assigned = split_clips(clips, SplitSettings(split="signer"))
    assert [clip.split for clip in assigned] == sorted(
        (clip.split for clip in assigned), key=["train", "val", "test"].index
    )
    order = [clip.video_id for clip in clips]
    for split in ("train", "val", "test"):
        places = [order.index(clip.video_id) for clip in assigned if clip.split == split]
        assert places == sorted(places)


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({}, "official"),
        ({"split": "official"}, "official"),
        ({"split": "signer"}, "signer, fold 0 of 5, seed 0"),
        ({"fold": 0}, "signer, fold 0 of 5, seed 0"),
        ({"fold": 2, "folds": 4, "fold_seed": 7}, "signer, fold 2 of 4, seed 7"),
    ],
)
def test_the_split_has_a_name(settings: dict[str, Any], name: str) -> None:
    assert SplitSettings(**settings).split_name == name
    assert SplitSettings(**settings).by_signer == (name != "official")
    assert list(SplitSettings(**settings).problems()) == []


def test_fold_alone_selects_folds_by_signer() -> None:
    clips = clips_of_signers()
    assert SplitSettings(fold=1).by_signer
    by_fold = split_clips(clips, SplitSettings(fold=1))
    assert by_fold == split_clips(clips, SplitSettings(split="signer", fold=1))
    assert by_fold != split_clips(clips, SplitSettings(split="signer"))


def test_settings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"data\.fold=5: must be below data\.folds=5"):
        composed("train", "data.fold=5")
    assert composed("train", "data.fold=4").data.fold == 4
    with pytest.raises(ConfigError, match=r"data\.fold=1: needs data\.split=signer"):
        composed("train", "data.split=official", "data.fold=1")
    with pytest.raises(ConfigError, match=r"data\.fold=1: needs .*, not data\.split=wlasl_authors"):
        composed("train", "protocol=wlasl_authors", "data.fold=1")


def test_flags_describe_the_new_splits() -> None:
    clips = clips_of_signers()
    split_of = parts(clips)
    train = next(clip for clip in clips if split_of[clip.video_id] == "train")
    test = next(clip for clip in clips if split_of[clip.video_id] == "test" and clip.gloss == train.gloss)
    copies = {train.video_id: test.video_id, test.video_id: train.video_id}
    flagged = [
        dataclasses.replace(clip, copies=copies[clip.video_id], flags="suspect bitstream duplicate")
        if clip.video_id in copies
        else clip
        for clip in clips
    ]
    assigned = {clip.video_id: clip.flags for clip in split_clips(flagged, SplitSettings(split="signer"))}
    assert {video_id for video_id, flags in assigned.items() if flags} == set(copies)
    assert all(assigned[video_id] == "suspect bitstream leakage" for video_id in copies)


@pytest.mark.parametrize(
    "settings",
    [
        SplitSettings(),
        SplitSettings(split="wlasl_authors"),
        SplitSettings(split="signer"),
        SplitSettings(fold=3, folds=7, fold_seed=12),
    ],
)
def test_a_split_is_known_by_its_name(settings: SplitSettings) -> None:
    named = SplitSettings.named(settings.split_name)
    assert named.split_name == settings.split_name
    assert split_clips(clips_of_signers(), named) == split_clips(clips_of_signers(), settings)


def test_a_name_of_no_split_is_an_error() -> None:
    with pytest.raises(ValueError, match="'signer, fold' is not the name of a split"):
        SplitSettings.named("signer, fold")


def test_signers_that_are_numbers_are_assigned_in_numerical_order() -> None:
    """Folds of WLASL are those of earlier versions, whose signers were numbers."""
    clips = clips_of_signers()
    known = sorted(clips, key=lambda clip: clip.video_id)
    folds = StratifiedGroupKFold(n_splits=5, shuffle=True, random_state=0).split(
        known, [clip.gloss for clip in known], [int(clip.signer_id) for clip in known]
    )
    test = {known[i].video_id for i in next(folds)[1]}
    assert {video_id for video_id, split in parts(clips).items() if split == "test"} == test
