"""``launcher=slurm``: jobs as one array of a SLURM cluster."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from asl.config.setting import setting
from asl.launch.settings import JobLauncher, LauncherError, Place

if TYPE_CHECKING:
    from submitit import AutoExecutor


@dataclass(kw_only=True)
class SlurmLauncher(JobLauncher):
    """Jobs are submitted with ``sbatch``, as one array. Start the program where ``sbatch`` works."""

    partition: str | None = setting(None, "where jobs run; null: the cluster's default")
    time_min: int = setting(240, "time limit of a job, minutes", ge=1)
    cpus: int = setting(8, "cores of a job", ge=1)
    mem_gb: float | None = setting(None, "memory of a job, GB; null: the cluster's default", gt=0)
    jobs: int | None = setting(None, "most jobs at once; null: no limit", ge=1)
    setup: list[str] = setting([], "shell commands before the job, as ['module load cuda']", any_length=True)
    sbatch: list[str] = setting(
        [], "further options of sbatch, as ['--account=lab','--exclusive']", any_length=True
    )

    cluster = "slurm"
    poll_s = 2.0
    jobs_outlive_program = True

    def problems(self) -> Iterator[str]:
        """Yield a message for each option that does not begin with ``--``."""
        for option in self.sbatch:
            if not option.startswith("--"):
                yield f"launcher.sbatch: {option} is no long option of sbatch, as --account=lab"

    def executor(self, folder: Path, *, name: str, gpus: int | None) -> AutoExecutor:
        executor = super().executor(folder, name=name, gpus=gpus)
        wanted = self.gpus if self.gpus is not None else gpus
        given = {
            "timeout_min": self.time_min,
            "cpus_per_task": self.cpus,
            "mem_gb": self.mem_gb,
            "gpus_per_node": wanted or None,
            "slurm_partition": self.partition,
            "slurm_array_parallelism": self.jobs,
            "slurm_srun_args": [f"--cpus-per-task={self.cpus}"],  # srun of SLURM 22.05 on does not inherit it
            "slurm_setup": list(self.setup) or None,
            "slurm_additional_parameters": dict(map(_option, self.sbatch)) or None,
        }
        try:
            executor.update_parameters(**{key: value for key, value in given.items() if value is not None})
        except (NameError, TypeError, ValueError) as error:
            raise LauncherError(f"launcher=slurm: submitit refuses these parameters: {error}") from None
        return executor

    def places(self, count: int, *, gpus: int | None) -> list[Place]:
        """One for each job: SLURM decides when it runs, and gives it cores and GPUs."""
        return [Place()] * count


def _option(text: str) -> tuple[str, str | bool]:
    """The name and value of an option.

    >>> _option("--account=lab"), _option("--exclusive")
    (('account', 'lab'), ('exclusive', True))
    """
    name, _, value = text.removeprefix("--").partition("=")
    return name, value or True
