"""Cut proven clips from raw videos and write a manifest: ``python preprocess.py``."""

from pathlib import Path

import hydra
from omegaconf import DictConfig

from asl.config.compose import register
from asl.config.program import job, run_program
from asl.launch.settings import JobLauncher
from asl.preprocess.config import PreprocessConfig

register(preprocess_schema=PreprocessConfig)


@hydra.main(config_path="conf", config_name="preprocess", version_base="1.3")
def main(cfg: DictConfig) -> None:
    with job(cfg, PreprocessConfig) as config:
        # These import codecs: after the configuration is checked.
        from asl.preprocess.launch import preprocess_in_jobs
        from asl.preprocess.pipeline import preprocess

        if isinstance(config.launcher, JobLauncher):
            preprocess_in_jobs(config, config.launcher)
        else:
            preprocess(config)


if __name__ == "__main__":
    run_program(
        main,
        name="preprocess",
        conf=Path(__file__).resolve().parent / "conf",
        if_stopped="what is cut is kept, and the same command goes on from there (without overwrite=true)",
    )
