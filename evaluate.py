"""Measure a checkpoint, or compare models: ``python evaluate.py``."""

from pathlib import Path

import hydra
from omegaconf import DictConfig

from asl.config.compose import register
from asl.config.program import job, run_program
from asl.evaluation.config import EvaluateConfig

register(evaluate_schema=EvaluateConfig)


@hydra.main(config_path="conf", config_name="evaluate", version_base="1.3")
def main(cfg: DictConfig) -> None:
    with job(cfg, EvaluateConfig) as config:
        from asl.evaluation.run import evaluate  # imports torch, so only after the configuration is checked

        evaluate(config)


if __name__ == "__main__":
    run_program(
        main,
        name="evaluate",
        conf=Path(__file__).resolve().parent / "conf",
        if_stopped="nothing was written; the same command starts over",
    )
