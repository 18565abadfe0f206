"""The classifier: metrics and training step."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader

from asl.model.classifier import SignClassifier
from asl.model.metrics import SplitMetrics
from asl.model.optimizer import OptimizerSettings


def test_top1_and_top5_count_clips() -> None:
    metrics = SplitMetrics(num_classes=7)
    logits = torch.arange(7.0).repeat(4, 1)  # label 6 is first, 2 is fifth, 1 is sixth
    metrics.update(logits[:3], torch.tensor([6, 2, 1]), torch.tensor(1.0), torch.tensor([True] * 3))
    metrics.update(logits[3:], torch.tensor([6]), torch.tensor(5.0), torch.tensor([True]))
    found = metrics.compute()
    assert float(found["top1"]) == pytest.approx(2 / 4)
    assert float(found["top5"]) == pytest.approx(3 / 4)
    assert float(found["loss"]) == pytest.approx(2.0)  # three clips at 1, one at 5


def test_clean_accuracies_count_only_clean_clips() -> None:
    metrics = SplitMetrics(num_classes=7)
    logits = torch.arange(7.0).repeat(4, 1)  # label 6 is first, 2 is fifth, 1 is sixth
    labels, clean = torch.tensor([6, 2, 1, 6]), torch.tensor([False, True, True, False])
    metrics.update(logits[:3], labels[:3], torch.tensor(1.0), clean[:3])
    metrics.update(logits[3:], labels[3:], torch.tensor(1.0), clean[3:])
    found = metrics.compute()
    assert float(found["top1"]) == pytest.approx(2 / 4)
    assert float(found["top1_clean"]) == 0.0
    assert float(found["top5_clean"]) == pytest.approx(1 / 2)


def test_without_clean_clips_their_accuracies_are_0_and_a_reset_forgets_all() -> None:
    metrics, logits = SplitMetrics(num_classes=7), torch.arange(7.0).repeat(2, 1)
    labels, one = torch.tensor([6, 2]), torch.tensor(1.0)
    metrics.update(logits, labels, one, torch.tensor([False, False]))
    assert [float(metrics.compute()[name]) for name in ("top1_clean", "top5_clean")] == [0.0, 0.0]
    metrics.reset()
    metrics.update(logits[:1], labels[:1], 3 * one, torch.tensor([True]))
    found = {name: float(value) for name, value in metrics.compute().items()}
    assert found == {"top1": 1.0, "top5": 1.0, "top1_clean": 1.0, "top5_clean": 1.0, "loss": 3.0}


@pytest.mark.parametrize("num_classes", [2, 3, 4, 5])
def test_with_fewer_than_six_glosses_top5_is_1(num_classes: int) -> None:
    metrics = SplitMetrics(num_classes)
    clean = torch.tensor([True] * 6)
    metrics.update(torch.randn(6, num_classes), torch.arange(6) % num_classes, torch.tensor(0.0), clean)
    assert float(metrics.compute()["top5"]) == 1.0


def test_channels_last_is_for_3d_convolutions_and_leaves_others_as_they_are() -> None:
    network = nn.ModuleDict({"video": nn.Conv3d(3, 4, 3), "picture": nn.Conv2d(3, 4, 3)})
    classifier = SignClassifier(
        network, nn.CrossEntropyLoss(), num_classes=2, optimizer=OptimizerSettings(), channels_last=True
    )
    assert classifier.model["video"].weight.is_contiguous(memory_format=torch.channels_last_3d)
    assert not classifier.model["video"].weight.is_contiguous()
    assert classifier.model["picture"].weight.is_contiguous()


class Scores(nn.Module):
    """A network whose logits are its input's first two numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, video: torch.Tensor) -> torch.Tensor:
        return self.scale * video.flatten(1)[:, :2]


def classifier() -> SignClassifier:
    return SignClassifier(
        Scores(),
        nn.CrossEntropyLoss(),
        num_classes=2,
        optimizer=OptimizerSettings(lr=0.1, weight_decay=0.0, warmup_epochs=0.0),
    )


def test_the_mixup_loss_weights_both_labels_by_their_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    module = classifier()
    monkeypatch.setattr(SignClassifier, "log", lambda *_, **__: None)
    monkeypatch.setattr(SignClassifier, "lr_schedulers", lambda _: SimpleNamespace(get_last_lr=lambda: [0.1]))
    video, label = torch.randn(4, 3, 1, 2, 2), torch.tensor([0, 0, 1, 0])
    mixed = {"video": video, "label": label, "mixed_label": label.flip(0), "mix": torch.tensor(0.8)}
    logits = module(video)
    own, other = (nn.functional.cross_entropy(logits, one) for one in (label, label.flip(0)))
    assert module.training_step(mixed, 0).item() == pytest.approx((0.8 * own + 0.2 * other).item())
    plain = {"video": video, "label": label}
    assert module.training_step(plain, 0).item() == pytest.approx(own.item())


def test_no_training_step_copies_a_number_from_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """``Tensor.item`` would wait until the GPU has finished all queued work."""
    steps: list[int] = []  # in which item() was called
    item = torch.Tensor.item

    def recorded_item(tensor: torch.Tensor) -> object:
        caller = sys._getframe(1).f_globals["__name__"]
        if not caller.startswith(("torch.optim", "torch.utils.data")):  # these are on the host
            steps.append(trainer.global_step)
        return item(tensor)

    batch = {
        "video": torch.randn(2, 3, 1, 2, 2),
        "label": torch.tensor([0, 1]),
        "valid": torch.tensor([True, True]),
        "clean": torch.tensor([True, True]),
    }
    trainer = pl.Trainer(
        max_epochs=1,
        log_every_n_steps=50,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
    )
    loader = DataLoader([batch] * 8, batch_size=None)  # type: ignore[arg-type]
    monkeypatch.setattr(torch.Tensor, "item", recorded_item)
    trainer.fit(classifier(), loader, loader)
    assert trainer.global_step == 8
    assert [step for step in steps if step < 8] == []
    assert set(trainer.callback_metrics) == {"train_loss_step", "train_loss_epoch", "lr"}
