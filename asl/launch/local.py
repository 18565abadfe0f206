"""``launcher=local``: jobs as processes of this machine."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from asl.config.setting import setting
from asl.launch.settings import JobLauncher, Place
from asl.machine import usable_cores

if TYPE_CHECKING:
    from submitit import AutoExecutor

_NO_LIMIT_MIN = 60 * 24 * 365  # submitit needs a time limit


@dataclass(kw_only=True)
class LocalLauncher(JobLauncher):
    """Jobs run on this machine, each with its share of the cores and GPUs."""

    jobs: int | None = setting(None, "jobs at once; null: as the GPUs suffice for, or one without GPUs", ge=1)

    cluster = "local"
    poll_s = 0.2
    jobs_outlive_program = False

    def executor(self, folder: Path, *, name: str, gpus: int | None) -> AutoExecutor:
        executor = super().executor(folder, name=name, gpus=gpus)
        executor.update_parameters(timeout_min=_NO_LIMIT_MIN)
        return executor

    def places(self, count: int, *, gpus: int | None) -> list[Place]:
        """Each place has its share of the cores, and GPUs of its own if there are enough."""
        wanted, devices, cores = self.gpus if self.gpus is not None else gpus, visible_gpus(), usable_cores()
        at_once = self.jobs or (max(1, len(devices) // wanted) if wanted else 1)
        at_once = min(at_once, count)
        places = []
        for place in range(at_once):
            if wanted is None or not devices:
                mine = devices
            else:
                mine = [
                    devices[(place * wanted + i) % len(devices)] for i in range(min(wanted, len(devices)))
                ]
            places.append(
                Place(
                    environment={"CUDA_VISIBLE_DEVICES": ",".join(mine)},
                    cores=tuple(cores[place::at_once]) or (cores[place % len(cores)],),
                )
            )
        return places


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as ``CUDA_VISIBLE_DEVICES`` names them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name.strip() for name in visible.split(",") if name.strip()]
    import torch  # takes seconds to import

    return [str(index) for index in range(torch.cuda.device_count())]
