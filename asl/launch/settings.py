"""The base classes of launchers. ``launcher=...`` selects one."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from asl.config.setting import setting
from asl.errors import UserError

if TYPE_CHECKING:
    from submitit import AutoExecutor


_TIME_LIMITS = 100  # so many times a job of SLURM that reaches its time limit is queued again


class LauncherError(UserError):
    """Jobs that cannot be started, or that failed."""


@dataclass(kw_only=True)
class LauncherSettings:
    """``launcher=none``: jobs run in the program itself, one after another."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where one job runs at a time."""

    environment: dict[str, str] = field(default_factory=dict)  # added to the job's
    cores: tuple[int, ...] = ()  # that the job may use; empty: those that it is given


@dataclass(kw_only=True)
class JobLauncher(LauncherSettings):
    """Runs jobs as processes. Each launcher has a subclass and a YAML file in ``conf/launcher``."""

    retries: int = setting(1, "so many times, a job that was killed is started again", ge=0)
    gpus: int | None = setting(
        None, "GPUs of a job; null: one for train.py, those that there are for preprocess.py", ge=0
    )

    cluster: ClassVar[str]  # submitit's name
    poll_s: ClassVar[float]  # how often to look whether jobs have ended
    jobs_outlive_program: ClassVar[bool]

    def executor(self, folder: Path, *, name: str, gpus: int | None) -> AutoExecutor:
        """submitit's executor.

        Args:
            folder: for logs; the machines that run jobs can write to it.
            name: of the jobs.
            gpus: of a job where ``self.gpus`` is null. None: whatever there is.

        Raises:
            LauncherError: submitit is not installed, or cannot start jobs here.
        """
        try:
            import submitit
        except ImportError as error:
            raise LauncherError(
                f"launcher={self.cluster} needs submitit ({error}): make install, or pip install 'asl[slurm]'"
            ) from None
        try:
            executor = submitit.AutoExecutor(
                folder=str(folder), cluster=self.cluster, slurm_max_num_timeout=_TIME_LIMITS
            )
        except RuntimeError as error:
            raise LauncherError(f"launcher={self.cluster}: {error}") from None
        executor.update_parameters(name=name, stderr_to_stdout=True)
        return executor

    def places(self, count: int, *, gpus: int | None) -> list[Place]:
        """Where ``count`` jobs run: as many places as jobs run at the same time."""
        raise NotImplementedError(f"{type(self).__name__}.places")
