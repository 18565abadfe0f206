"""Write a checkpoint as ONNX and torch.export files with a model card: ``python export.py``."""

from pathlib import Path

import hydra
from omegaconf import DictConfig

from asl.config.compose import register
from asl.config.program import job, run_program
from asl.inference.export.config import ExportConfig

register(export_schema=ExportConfig)


@hydra.main(config_path="conf", config_name="export", version_base="1.3")
def main(cfg: DictConfig) -> None:
    with job(cfg, ExportConfig) as config:
        from asl.inference.export.run import export  # imports torch, so only once the keys are checked

        export(config)


if __name__ == "__main__":
    run_program(
        main,
        name="export",
        conf=Path(__file__).resolve().parent / "conf",
        if_stopped="nothing was written; the same command starts over",
    )
