"""Run the jobs of ``python train.py --multirun``, in this process or through a launcher, and sum them up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import OmegaConf, open_dict
from rich.console import Console

from asl.config.compose import checked
from asl.config.setting import ConfigError, path_override
from asl.launch.command_line import config_flags, is_override_of, this_program
from asl.launch.jobs import Job, run_jobs
from asl.launch.settings import JobLauncher, LauncherError
from asl.messages import first_few
from asl.training.config import TrainConfig
from asl.training.job_folder import job_name
from asl.training.sweep_summary import SweepRun, write_summary


class SweepLauncher(BasicLauncher):
    """Hydra's launcher of the jobs of a sweep."""

    def __init__(self) -> None:
        super().__init__()
        self._runs: list[SweepRun] = []  # of all batches (hydra.sweeper.max_batch_size) until now

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run jobs, and write the summary of those that have ended.

        Raises:
            ConfigError: two jobs have one folder, or with ``launcher=local|slurm`` a value is out of range.
            LauncherError: jobs of ``launcher=local|slurm`` failed. Failed jobs of this process are returned.
        """
        if self.config is None or self.hydra_context is None:
            raise RuntimeError("setup() was not called")
        loader = self.hydra_context.config_loader
        configs = [loader.load_sweep_config(self.config, list(overrides)) for overrides in job_overrides]
        launcher = OmegaConf.to_object(configs[0].launcher)
        names = _short_names(job_overrides)
        folders = [
            Path(config.paths.checkpoint_dir) / job_name(list(overrides))
            for overrides, config in zip(job_overrides, configs, strict=True)
        ]
        if twice := [str(folder) for folder, count in Counter(folders).items() if count > 1]:
            raise ConfigError(
                f"several jobs of this sweep would write to {first_few(twice)}: they are the same, or differ "
                "in launcher or resume alone, which have one value in a sweep"
            )
        if isinstance(launcher, JobLauncher):
            for config in configs:  # before a job waits in a queue
                with open_dict(config):
                    del config.hydra
                checked(config, TrainConfig)
            failed = self._run_elsewhere(launcher, names, job_overrides, initial_job_idx)
            returns = [JobReturn(overrides=list(one), status=JobStatus.COMPLETED) for one in job_overrides]
        else:
            failed, returns = {}, list(super().launch(job_overrides, initial_job_idx))
            for name, returned in zip(names, returns, strict=True):
                if returned.status != JobStatus.COMPLETED:
                    failed[name] = str(returned._return_value)
        for name, overrides, folder in zip(names, job_overrides, folders, strict=True):
            self._runs.append(SweepRun(name, tuple(overrides), folder, failed.get(name)))
        write_summary(self._runs, Path(self.config.hydra.sweep.dir), Console())
        if failed and isinstance(launcher, JobLauncher):
            lines = "".join(f"\n{name}: {problem}" for name, problem in failed.items())
            raise LauncherError(f"{len(failed)} of {len(names)} jobs failed{lines}")
        return returns

    def _run_elsewhere(
        self,
        launcher: JobLauncher,
        names: Sequence[str],
        job_overrides: Sequence[Sequence[str]],
        initial_job_idx: int,
    ) -> dict[str, str]:
        """Run jobs through a launcher; returns what went wrong, by the job's name."""
        assert self.config is not None
        folder = Path(self.config.hydra.sweep.dir)
        jobs = []
        for number, (name, overrides) in enumerate(zip(names, job_overrides, strict=True), initial_job_idx):
            # A sweep of one job, so that it has the same folder as in this process.
            own = (path_override("hydra.sweep.dir", folder / str(number)), "hydra.sweep.subdir=.")
            task = (one for one in overrides if not is_override_of(one, ["launcher"]))
            hydra = self.config.hydra.overrides.hydra
            jobs.append(Job(name, (*this_program(), *config_flags(), *hydra, *task, *own)))
        return run_jobs(
            jobs,
            launcher,
            folder=folder / "jobs",
            name="asl-train",
            go_on="the same command with resume=auto goes on with those that are not finished, and sums up",
            gpus=1,
            console=Console(),
        )


def _short_names(job_overrides: Sequence[Sequence[str]]) -> list[str]:
    """What makes each job another one: its overrides that not all jobs have."""
    common = set.intersection(*(set(overrides) for overrides in job_overrides))
    return [
        ",".join(one for one in overrides if one not in common) or job_name(list(overrides))
        for overrides in job_overrides
    ]
