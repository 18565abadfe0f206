"""The table of predictions: ranks, and a file that gives back what was written."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_predictions import predictions_for, random_predictions

from asl.evaluation.predictions import PredictionsError, read_predictions, write_predictions


def test_a_file_gives_back_what_was_written(tmp_path: Path) -> None:
    for classes in (3, 25):
        predictions = random_predictions(1, classes=classes)
        write_predictions(tmp_path / "predictions.csv", predictions)
        assert read_predictions(tmp_path / "predictions.csv") == predictions
        assert len(predictions[0].top) == min(10, classes)


def test_the_rank_of_a_gloss_and_its_place_in_the_list_agree() -> None:
    for one in random_predictions(2):
        listed = [gloss for gloss, _ in one.top]
        assert (one.rank <= 10) == (one.gloss in listed)
        if one.rank <= 10:
            assert listed[one.rank - 1] == one.gloss
            assert one.top[one.rank - 1][1] == one.probability


def test_of_glosses_with_equal_probability_the_lower_label_is_first() -> None:
    low, high = predictions_for([1, 2], [[0.2, 0.4, 0.4], [0.2, 0.4, 0.4]])
    assert (low.rank, high.rank) == (1, 2)
    assert low.predicted == high.predicted == "gloss 1"


def test_a_signer_is_known_to_training_or_not_or_unknown() -> None:
    signers = {"signers": ["3", "P4", ""], "signers_in_train": ["3"]}
    predictions = predictions_for([0, 0, 0], [[0.5, 0.5]] * 3, **signers)
    assert [one.signer_in_train for one in predictions] == [True, False, None]


def test_a_signer_of_minus_one_is_unknown_as_in_files_of_an_earlier_version(tmp_path: Path) -> None:
    (one,) = predictions_for([0], [[0.5, 0.5]], signers=["-1"])
    write_predictions(tmp_path / "predictions.csv", [one])
    assert [one.signer_id for one in read_predictions(tmp_path / "predictions.csv")] == [""]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("rank", "place", 1), "column rank is missing"),
        (lambda text: text + text.splitlines()[1] + "\n", r"clip test000 occurs twice"),
        (lambda text: text.replace(",,,,", ",,none,,", 1), r"line 2 cannot be read: .*none"),
        (lambda text: text.splitlines()[0] + "\n", "has no clips"),
        (lambda text: text.replace(",1,0.75,", ",0,0.75,", 1), r"line 2 cannot be read: rank=0 .*evaluate"),
        (lambda text: text.replace("0.75", "nan", 1), r"line 2 cannot be read: nan is not a probability"),
        (lambda text: text.replace("0.25", "7.5", 1), r"line 2 cannot be read: 7\.5 is not a probability"),
        (
            lambda text: text.replace("gloss 1", "é"),
            r"is damaged, or no predictions\.csv: .*Write it anew with: python evaluate\.py",
        ),
    ],
)
def test_a_damaged_file_is_an_error_that_names_it(tmp_path: Path, change, message: str) -> None:
    path = tmp_path / "predictions.csv"
    write_predictions(path, predictions_for([0, 1], [[0.75, 0.25]] * 2))
    path.write_text(change(path.read_text()), encoding="latin-1")
    with pytest.raises(PredictionsError, match=rf"predictions\.csv.*{message}"):
        read_predictions(path)


def test_a_missing_file_is_an_error_that_says_what_writes_it(tmp_path: Path) -> None:
    with pytest.raises(PredictionsError, match=r"no such file\. python evaluate\.py writes"):
        read_predictions(tmp_path / "predictions.csv")
