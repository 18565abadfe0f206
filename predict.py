"""Predict the signs in videos: ``python predict.py checkpoint=best.pt input=clip.mp4``."""

import sys
from pathlib import Path

import hydra
from omegaconf import DictConfig

from asl.config.compose import register
from asl.config.program import job, run_program
from asl.inference.config import PredictConfig

register(predict_schema=PredictConfig)


@hydra.main(config_path="conf", config_name="predict", version_base="1.3")
def main(cfg: DictConfig) -> None:
    with job(cfg, PredictConfig) as config:
        from asl.inference.run import predict  # imports torch, so only after the configuration is checked

        if predict(config):
            sys.exit(1)


if __name__ == "__main__":
    run_program(
        main,
        name="predict",
        conf=Path(__file__).resolve().parent / "conf",
        if_stopped="the same command starts over",
    )
