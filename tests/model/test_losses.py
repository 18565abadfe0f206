"""The losses against their definitions."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from asl.config.setting import ConfigError, find_problems
from asl.model.losses.cross_entropy import CrossEntropy
from asl.model.losses.focal import Focal

LOGITS = torch.tensor([[2.0, 0.5, -1.0], [0.0, 3.0, 0.0], [1.0, 1.0, 1.0]])
LABEL = torch.tensor([0, 1, 2])
GLOSSES = ["book", "drink", "eat"]
TABLE = ",book,drink,eat\nbook,1,0,0.1\ndrink,0,1,0.7\neat,0.1,0.7,1\n"


def test_focal_loss_equals_its_formula() -> None:
    p = LOGITS.softmax(dim=1)[torch.arange(3), LABEL]
    loss = Focal(gamma=2.0, label_smoothing=0.0).build(GLOSSES)
    assert torch.allclose(loss(LOGITS, LABEL), (-((1 - p) ** 2) * p.log()).mean())


def test_focal_loss_with_gamma_0_is_cross_entropy() -> None:
    expected = F.cross_entropy(LOGITS, LABEL, label_smoothing=0.1)
    assert torch.allclose(Focal(gamma=0.0).build(GLOSSES)(LOGITS, LABEL), expected)


def test_focal_loss_has_a_finite_gradient_at_probability_1() -> None:
    logits = torch.tensor([[200.0, 0.0]], requires_grad=True)
    Focal(gamma=0.5, label_smoothing=0.0).build(GLOSSES[:2])(logits, torch.tensor([0])).backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_label_smoothing_reaches_cross_entropy() -> None:
    loss = CrossEntropy(label_smoothing=0.2).build(GLOSSES)
    assert torch.equal(loss(LOGITS, LABEL), F.cross_entropy(LOGITS, LABEL, label_smoothing=0.2))


def test_settings_reach_focal_loss() -> None:
    missed = 1 - LOGITS.softmax(dim=1)[torch.arange(3), LABEL]
    smoothed = F.cross_entropy(LOGITS, LABEL, reduction="none", label_smoothing=0.2)
    loss = Focal(gamma=0.5, label_smoothing=0.2).build(GLOSSES)
    assert torch.allclose(loss(LOGITS, LABEL), (missed**0.5 * smoothed).mean())


def written(folder: Path, text: str) -> str:
    file = folder / "similarity.csv"
    file.write_text(text, encoding="utf-8")
    return str(file)


def test_similar_glosses_get_the_smoothed_share_in_proportion(tmp_path: Path) -> None:
    file = written(tmp_path, TABLE)
    targets = torch.tensor([[0.8, 0.0, 0.2], [0.0, 0.8, 0.2], [0.025, 0.175, 0.8]])
    expected = -(targets * LOGITS.log_softmax(dim=1)).sum(dim=1)
    loss = CrossEntropy(label_smoothing=0.2, similarity=file).build(GLOSSES)
    assert torch.allclose(loss(LOGITS, LABEL), expected.mean())
    assert torch.allclose(loss(LOGITS[1:2], LABEL[1:2]), expected[1])
    focal = Focal(gamma=0.0, label_smoothing=0.2, similarity=file).build(GLOSSES)
    assert torch.allclose(focal(LOGITS, LABEL), expected.mean())
    assert loss.state_dict() == {}  # checkpoints do not change


def test_rows_and_columns_are_found_by_gloss(tmp_path: Path) -> None:
    other = ",eat,tea,book,drink\ntea,0,1,0,0\neat,1,9,0.1,0.7\n\ndrink,0.7,9,0,1\nbook,0.1,9,1,0\n"
    losses = [
        CrossEntropy(similarity=written(tmp_path, text)).build(GLOSSES)(LOGITS, LABEL)
        for text in (TABLE, other)
    ]
    assert torch.equal(*losses)


def test_the_diagonal_and_rows_of_nothing_are_not_read(tmp_path: Path) -> None:
    empty = TABLE.replace(",1", ",") + ",,,\n"
    losses = [
        CrossEntropy(similarity=written(tmp_path, text)).build(GLOSSES)(LOGITS, LABEL)
        for text in (TABLE, empty)
    ]
    assert torch.equal(*losses)


def test_a_gloss_that_is_similar_to_none_is_smoothed_evenly(tmp_path: Path) -> None:
    file = written(tmp_path, ",a,b,c\na,1,0,0\nb,0,1,0\nc,0,0,1\n")
    targets = 0.7 * torch.eye(3) + 0.15 * (1 - torch.eye(3))
    expected = -(targets * LOGITS.log_softmax(dim=1)).sum(dim=1).mean()
    loss = CrossEntropy(label_smoothing=0.3, similarity=file).build(["a", "b", "c"])
    assert torch.allclose(loss(LOGITS, LABEL), expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "3 of 3 glosses are missing: book, drink, eat"),
        (",book\nbook,1\n", "2 of 3 glosses are missing: drink, eat"),
        (TABLE.replace("\nbook", "\nBook"), "a row or a column, not both: Book, book"),
        (TABLE.replace("eat,0.1,0.7,1", "eat,0.1,0.7"), "not 3 values in the row of eat"),
        (TABLE + "eat,0.1,0.7,1\n", "several rows or columns: eat"),
        (TABLE.replace("0.7", "-0.7"), "row drink, column eat: '-0.7' must be a number from 0"),
        (TABLE.replace("0.7", "nan"), "row drink, column eat: 'nan' must be a number from 0"),
        (TABLE.replace("0.7", "inf"), "row drink, column eat: 'inf' must be a number from 0"),
        (TABLE.replace("0.7", "much"), "row drink, column eat: 'much' must be a number from 0"),
        (TABLE.replace("0.7", "1e39"), "row drink, column eat: '1e39' must be a number from 0 to 1e+30"),
        (TABLE.replace(",", ";"), "It must be a square table, separated by commas"),
    ],
    ids=[
        "empty",
        "missing",
        "other name",
        "ragged",
        "twice",
        "negative",
        "nan",
        "inf",
        "text",
        "huge",
        "semicolons",
    ],
)
def test_a_file_that_cannot_be_used_is_one_error(tmp_path: Path, text: str, message: str) -> None:
    file = written(tmp_path, text)
    with pytest.raises(ConfigError) as error:
        CrossEntropy(similarity=file).build(GLOSSES)
    assert f"loss.similarity={file}: " in str(error.value)
    assert message in str(error.value)


def test_a_file_that_is_missing_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"loss\.similarity=.*none\.csv: cannot be read"):
        CrossEntropy(similarity=str(tmp_path / "none.csv")).build(GLOSSES)


def test_similarity_without_label_smoothing_is_refused() -> None:
    (problem,) = find_problems(CrossEntropy(label_smoothing=0.0, similarity="a.csv"), "loss.")
    assert problem == "loss.similarity=a.csv: needs loss.label_smoothing, such as 0.1, which is 0"
