"""A manifest in, a trained and honestly measured model out: ``python train.py``."""

import hydra
from omegaconf import DictConfig

from asl import config
from asl.config.setting import checked, readable_errors, readable_job_errors

config.register()


@hydra.main(config_path="conf", config_name="train", version_base="1.3")
def main(cfg: DictConfig) -> None:
    with readable_job_errors():
        settings = checked(cfg, config.TrainConfig)
        from asl.training.run import train  # after the configuration was found right

        train(settings)


if __name__ == "__main__":
    with readable_errors():
        main()
