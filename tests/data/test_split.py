"""The official split, and folds in which no signer is in two splits."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from clips import GLOSSES, make_clip
from composing import composed

from asl.config.setting import ConfigError
from asl.contract.manifest import Clip, ManifestError
from asl.data.split import SplitSettings, split_clips


def clips_of_signers(signers: int = 20) -> list[Clip]:
    """Clips of ``signers`` signers, each of whom signs each gloss twice."""
    return [
        dataclasses.replace(make_clip("train", label, number), signer_id=number // 2)
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


def test_no_signer_is_in_two_splits_and_every_class_is_in_all() -> None:
    clips = clips_of_signers()
    split_of = parts(clips)
    for signer in range(20):
        assert len({split_of[one.video_id] for one in clips if one.signer_id == signer}) == 1
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


def test_clips_of_unknown_signers_go_to_train_and_too_few_signers_are_an_error() -> None:
    assert parts([*clips_of_signers(), make_clip("test", 0, 99)])["test099"] == "train"
    with pytest.raises(ManifestError, match="2 known signers are too few"):
        parts(clips_of_signers(signers=2))


def test_fold_alone_selects_folds_by_signer() -> None:
    clips = clips_of_signers()
    assert SplitSettings(fold=1).by_signer
    by_fold = split_clips(clips, SplitSettings(fold=1))
    assert by_fold == split_clips(clips, SplitSettings(split="signer", fold=1))
    assert by_fold != split_clips(clips, SplitSettings(split="signer"))


def test_settings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"data\.fold=5: must be below data\.folds=5"):
        composed("train", "data.fold=5")
    with pytest.raises(ConfigError, match=r"data\.fold=1: needs data\.split=signer"):
        composed("train", "data.split=official", "data.fold=1")


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
    [SplitSettings(), SplitSettings(split="signer"), SplitSettings(fold=3, folds=7, fold_seed=12)],
)
def test_a_split_is_known_by_its_name(settings: SplitSettings) -> None:
    named = SplitSettings.named(settings.split_name)
    assert named.split_name == settings.split_name
    assert split_clips(clips_of_signers(), named) == split_clips(clips_of_signers(), settings)


def test_a_name_of_no_split_is_an_error() -> None:
    with pytest.raises(ValueError, match="'signer, fold' is not the name of a split"):
        SplitSettings.named("signer, fold")
