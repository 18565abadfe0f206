"""The losses against their definitions."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from asl.model.losses.cross_entropy import CrossEntropy
from asl.model.losses.focal import Focal, FocalLoss

LOGITS = torch.tensor([[2.0, 0.5, -1.0], [0.0, 3.0, 0.0], [1.0, 1.0, 1.0]])
LABEL = torch.tensor([0, 1, 2])


def test_focal_loss_equals_its_formula() -> None:
    p = LOGITS.softmax(dim=1)[torch.arange(3), LABEL]
    assert torch.allclose(FocalLoss(gamma=2.0)(LOGITS, LABEL), (-((1 - p) ** 2) * p.log()).mean())
    assert torch.equal(FocalLoss()(LOGITS, LABEL), FocalLoss(gamma=2.0, label_smoothing=0.0)(LOGITS, LABEL))


def test_focal_loss_with_gamma_0_is_cross_entropy() -> None:
    expected = F.cross_entropy(LOGITS, LABEL, label_smoothing=0.1)
    assert torch.allclose(FocalLoss(gamma=0.0, label_smoothing=0.1)(LOGITS, LABEL), expected)


def test_focal_loss_has_a_finite_gradient_at_probability_1() -> None:
    logits = torch.tensor([[200.0, 0.0]], requires_grad=True)
    FocalLoss(gamma=0.5)(logits, torch.tensor([0])).backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_label_smoothing_reaches_cross_entropy() -> None:
    loss = CrossEntropy(label_smoothing=0.2).build()
    assert torch.allclose(loss(LOGITS, LABEL), F.cross_entropy(LOGITS, LABEL, label_smoothing=0.2))


def test_settings_reach_focal_loss() -> None:
    loss = Focal(gamma=0.5, label_smoothing=0.2).build()
    assert torch.allclose(loss(LOGITS, LABEL), FocalLoss(gamma=0.5, label_smoothing=0.2)(LOGITS, LABEL))
    assert not torch.allclose(loss(LOGITS, LABEL), FocalLoss(gamma=0.5)(LOGITS, LABEL))
