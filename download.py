"""Fetch the raw videos of a data set from the URLs in its metadata: ``python download.py``."""

from pathlib import Path

import hydra
from omegaconf import DictConfig

from asl.config.compose import register
from asl.config.program import job, run_program
from asl.download.config import DownloadConfig

register(download_schema=DownloadConfig)


@hydra.main(config_path="conf", config_name="download", version_base="1.3")
def main(cfg: DictConfig) -> None:
    with job(cfg, DownloadConfig) as config:
        from asl.download.run import download  # imports codecs: after the configuration is checked

        download(config)


if __name__ == "__main__":
    run_program(
        main,
        name="download",
        conf=Path(__file__).resolve().parent / "conf",
        if_stopped="what is fetched is kept, and the same command goes on from there",
    )
