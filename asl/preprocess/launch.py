"""Preprocess in jobs: ``python preprocess.py shard.count=16 launcher=slurm``."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from rich.console import Console

from asl.launch.command_line import arguments_without, this_program
from asl.launch.jobs import Job, run_jobs
from asl.launch.settings import JobLauncher, LauncherSettings
from asl.preprocess.config import PreprocessConfig
from asl.preprocess.pipeline import preprocess
from asl.preprocess.shards.merge import NOT_OF_A_SHARD, UnfinishedShardsError, find_count, merge_command


def preprocess_in_jobs(config: PreprocessConfig, launcher: JobLauncher) -> None:
    """Run the shards as jobs, wait for them, and merge. With ``config.merge``, run those that are missing.

    Shards that the merge misses although no job failed are started again, ``launcher.retries`` times.

    Raises:
        UnfinishedShardsError: shards failed.
        LauncherError: jobs cannot be started.
        KeyboardInterrupt: with a message if the jobs go on.
    """
    dataset, paths, console = config.dataset.name, config.paths, Console()
    count = config.shard.count or find_count(paths, dataset)
    merge = dataclasses.replace(config, merge=True, overwrite=False, launcher=LauncherSettings())
    indices: tuple[int, ...] = tuple(range(count))
    if config.merge:
        try:
            return preprocess(merge)
        except UnfinishedShardsError as error:
            indices = error.indices
            console.print(f"starting {len(indices)} of {count} shards: {', '.join(map(str, indices))}")
    arguments = arguments_without(NOT_OF_A_SHARD)
    for tries_left in reversed(range(1 + launcher.retries)):
        jobs = [
            Job(
                f"shard {index} of {count}",
                (*this_program(), *arguments, f"shard.index={index}", f"shard.count={count}"),
            )
            for index in indices
        ]
        failed = run_jobs(
            jobs,
            launcher,
            folder=Path(paths.metadata_dir) / "logs" / "jobs",
            name=f"asl-{dataset}",
            go_on=merge_command(count),
            console=console,
        )
        try:
            return preprocess(merge)
        except UnfinishedShardsError as error:
            if failed or not tries_left:
                raise
            indices = error.indices
    return None
