"""Raw videos and WLASL metadata in, proven clips and a manifest out: ``python preprocess.py``."""

import sys

import hydra
from omegaconf import DictConfig

from asl import config
from asl.config.setting import checked, readable_errors, readable_job_errors

config.register()


@hydra.main(config_path="conf", config_name="preprocess", version_base="1.3")
def main(cfg: DictConfig) -> None:
    with readable_job_errors():
        settings = checked(cfg, config.PreprocessConfig)
        from asl.preprocess.pipeline import preprocess  # after the configuration was found right

        preprocess(settings)


if __name__ == "__main__":
    with readable_errors():
        try:
            main()
        except KeyboardInterrupt:
            told = "what is cut is kept, and the same command goes on from there (without overwrite=true)"
            print(f"stopped; {told}", file=sys.stderr)
            sys.exit(130)  # as a shell says it of SIGINT
