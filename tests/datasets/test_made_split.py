"""Val for data sets that have none."""

from __future__ import annotations

from collections import Counter

import pytest

from asl.datasets.instance import Instance, Metadata
from asl.datasets.made_split import with_split


def made(instances: list[Instance], share: float = 0.2, seed: int = 0) -> Metadata:
    glosses = tuple(dict.fromkeys(one.gloss for one in instances))
    return with_split(Metadata(tuple(instances), glosses), "val", share=share, seed=seed)


def instances_of(signers: list[str], glosses: str = "abc", split: str = "train") -> list[Instance]:
    """An instance of each gloss by each of the signers."""
    return [
        Instance(video_id=f"{split}{gloss}{number}", gloss=gloss, split=split, signer_id=signer)
        for number, signer in enumerate(signers)
        for gloss in glosses
    ]


SIGNERS = [f"P{number}" for number in range(10)]


def test_no_signer_is_in_train_and_val() -> None:
    metadata = made(instances_of(SIGNERS) + instances_of(["P0", "x"], split="test"))
    signers = {split: {one.signer_id for one in metadata.instances if one.split == split} for split in SPLITS}
    assert (len(signers["val"]), len(signers["train"]), signers["test"]) == (2, 8, {"P0", "x"})
    assert not signers["val"] & signers["train"]
    assert metadata.made_splits == ("val is 6 of 30 instances of train, 2 of its 10 signers (seed 0)")


SPLITS = ("train", "val", "test")


def test_three_signers_are_enough() -> None:
    metadata = made(instances_of(["1", "2", "3"]))
    val = {one.signer_id for one in metadata.instances if one.split == "val"}
    assert len(val) == 1
    assert not val & {one.signer_id for one in metadata.instances if one.split == "train"}


def test_no_gloss_leaves_train_with_a_signer() -> None:
    instances = [
        *instances_of(SIGNERS),
        *(
            Instance(video_id=f"own{signer}", gloss=f"own {signer}", split="train", signer_id=signer)
            for signer in SIGNERS[:9]
        ),
    ]
    metadata = made(instances)
    assert {one.signer_id for one in metadata.instances if one.split == "val"} == {"P9"}


@pytest.mark.parametrize("signers", [[""] * 10, ["P1"] * 10], ids=["unknown", "one"])
def test_without_signers_a_share_of_each_gloss_is_val(signers: list[str]) -> None:
    metadata = made(instances_of(signers))
    counts = Counter((one.gloss, one.split) for one in metadata.instances)
    assert counts == {(gloss, split): n for gloss in "abc" for split, n in (("train", 8), ("val", 2))}
    assert metadata.made_splits.endswith("a part of each gloss (seed 0)")


def test_each_gloss_is_in_val_if_it_can_be() -> None:
    metadata = made([*instances_of(["", ""]), *instances_of([""], "d")])
    counts = Counter((one.gloss, one.split) for one in metadata.instances)
    assert counts == {(gloss, split): 1 for gloss in "abc" for split in ("train", "val")} | {
        ("d", "train"): 1
    }


def test_a_split_that_cannot_be_made_is_said() -> None:
    metadata = made(instances_of([""]))
    assert {one.split for one in metadata.instances} == {"train"}
    assert metadata.made_splits == "there is no val: no gloss has two instances in train, to move one of"


def test_the_choice_depends_on_the_seed_and_not_on_the_order() -> None:
    def val(instances: list[Instance], seed: int) -> set[str]:
        return {one.video_id for one in made(instances, seed=seed).instances if one.split == "val"}

    for instances in (instances_of(SIGNERS), instances_of([""] * 10)):
        assert val(instances, 0) == val(instances[::-1], 0)
        assert len({frozenset(val(instances, seed)) for seed in range(5)}) > 1


def test_metadata_with_val_or_without_train_stay_as_they_are() -> None:
    for splits in (("train", "val"), ("test",)):
        instances = [one for split in splits for one in instances_of(["1", "2"], split=split)]
        metadata = Metadata(tuple(instances), ("a", "b", "c"))
        assert with_split(metadata, "val", share=0.2, seed=0) is metadata
