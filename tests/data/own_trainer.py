"""A user's own training script: a small LightningModule, Lightning's Trainer, and asl's ClipDataModule.

    python own_trainer.py manifest results_folder number_of_devices

Writes ``{number_of_devices}_{rank}.json`` with the clips that each rank got: for train and val a list of
``[position in ClipDataModule.clips, valid, first uniform number]`` per epoch.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from asl import ClipDataModule, DataSettings

FRAMES_PER_CLIP = 12  # of every clip of the manifest


class MeanColour(pl.LightningModule):
    """Classifies a clip by its mean colour."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.layer = nn.Linear(3, num_classes)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        return nn.functional.cross_entropy(self.layer(batch["video"].mean((2, 3, 4))), batch["label"])

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        correct = self.layer(batch["video"].mean((2, 3, 4))).argmax(1) == batch["label"]
        self.log("val_accuracy", correct[batch["valid"]].float().mean(), sync_dist=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class RecordedClips(ClipDataModule):
    """Records which clips this rank gets."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.recorded: dict[str, list[list[list[float]]]] = {"train": [], "val": []}

    def on_after_batch_transfer(self, batch: dict[str, Tensor], dataloader_idx: int) -> dict[str, Tensor]:
        assert self.trainer is not None
        if not self.trainer.sanity_checking:
            epochs = self.recorded["train" if self.trainer.training else "val"]
            while len(epochs) <= self.trainer.current_epoch:
                epochs.append([])
            positions = batch["frames"][:, 0] // FRAMES_PER_CLIP
            rows = zip(
                positions.tolist(), batch["valid"].tolist(), batch["uniforms"][:, 0].tolist(), strict=True
            )
            epochs[-1] += [list(row) for row in rows]
        return super().on_after_batch_transfer(batch, dataloader_idx)


def main(manifest: str, folder: str, devices: str) -> None:
    settings = DataSettings(clip_len=4, resize=[20, 30], crop_size=16, batch_size=3)
    data = RecordedClips(manifest, data=settings, frames_dir=f"{folder}/frames")
    trainer = pl.Trainer(
        strategy="ddp" if int(devices) > 1 else "auto",
        devices=int(devices),
        accelerator="cpu",
        max_epochs=2,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
    )
    trainer.fit(MeanColour(len(data.glosses)), data)
    (Path(folder) / f"{devices}_{trainer.global_rank}.json").write_text(json.dumps(data.recorded))


if __name__ == "__main__":
    main(*sys.argv[1:])
