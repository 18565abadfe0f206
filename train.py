"""Train and measure a model on the clips of a manifest: ``python train.py``."""

from pathlib import Path

import hydra
from omegaconf import DictConfig

from asl.config.compose import register, use_launcher
from asl.config.program import job, run_program
from asl.training.config import TrainConfig
from asl.training.sweep import SweepLauncher

register(train_schema=TrainConfig)
use_launcher(SweepLauncher)


@hydra.main(config_path="conf", config_name="train", version_base="1.3")
def main(cfg: DictConfig) -> None:
    with job(cfg, TrainConfig) as config:
        from asl.training.run import train  # imports torch, so only after the configuration is checked

        train(config)


if __name__ == "__main__":
    run_program(
        main,
        name="train",
        conf=Path(__file__).resolve().parent / "conf",
        if_stopped="to resume after the last finished epoch, use resume=auto",
    )
