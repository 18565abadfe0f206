"""Fixtures that several test modules share."""

from __future__ import annotations

import fcntl
import gc
import multiprocessing.forkserver
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from in_browser import started_browser

# With -n 2, a third process loads this file before it starts the two that run tests: what takes seconds to
# import is imported where it is used.

#: Test modules that take seconds or start processes: ``slow``, which ``make check`` leaves out.
SLOW_MODULES = {
    "test_app",
    "test_batch_size",
    "test_capabilities",
    "test_clip_frames",
    "test_contributing",
    "test_cropped_frames",
    "test_demo_end_to_end",
    "test_direct_links",
    "test_download_plan",
    "test_download_program",
    "test_encode",
    "test_evaluate",
    "test_export",
    "test_folder_lock",
    "test_gpu_tuning",
    "test_h264",
    "test_history",
    "test_input_page",
    "test_jobs",
    "test_join_manifests",
    "test_lightning_trainer",
    "test_lr_finder",
    "test_missing_frames",
    "test_nvdec_accelerator",
    "test_page_browser",
    "test_pipeline",
    "test_predict_program",
    "test_preprocess_program",
    "test_report",
    "test_report_browser",
    "test_protocol",
    "test_ranks",
    "test_run",
    "test_run_choices",
    "test_shards",
    "test_stored_frames",
    "test_train_cli",
    "test_torchvision_networks",
    "test_training_aids",
    "test_transfer",
    "test_youtube",
}

#: Of these, those that take longest and begin first, so that processes of tests end at about the same time.
LONGEST_MODULES = (
    "test_demo_end_to_end",
    "test_nvdec_accelerator",
    "test_ranks",
    "test_pipeline",
    "test_torchvision_networks",
    "test_export",
    "test_train_cli",
    "test_preprocess_program",
    "test_app",
    "test_encode",
    "test_demo",
    "test_evaluate",
    "test_page_browser",
    "test_run",
    "test_launched_shards",
    "test_predict_program",
    "test_training_aids",
    "test_shards",
    "test_gpu_tuning",
    "test_sweep",
    "test_h264",
)

#: Single tests of that kind in modules that are quick otherwise.
SLOW_TESTS = {
    "test_at_width_64_names_shapes_and_outputs_equal_torchvisions",
    "test_padding_keeps_names_shapes_and_outputs_of_torchvisions_network",
    "test_a_data_set_says_how_to_get_its_files",
    "test_composing_a_configuration_loads_nothing_heavy",
    "test_a_folder_of_clips_becomes_a_trained_batch",
    "test_from_files_to_a_trained_batch",
    "test_the_error_names_a_clip_that_hangs_its_reader",
    "test_all_of_wlasl_is_a_page_below_a_megabyte_without_films",
    "test_all_of_wlasl_is_a_page_of_a_few_megabytes",
    "test_ranks_share_an_epoch_and_measure_val_clips_once",
    "test_intervals_cover_the_true_value",
    "test_a_notebook_does_without_hydra",
    "test_a_sweep_in_jobs_gives_a_summary_also_if_one_fails",
    "test_jobs_of_one_folder_are_refused",
}


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Where slow tests are left out, their modules need not be imported."""
    return ("not slow" in config.option.markexpr and collection_path.stem in SLOW_MODULES) or None


def pytest_collection() -> None:
    """Before the first test module is imported: configure Hypothesis, and stop collecting garbage."""
    from hypothesis import settings

    gc.disable()
    settings.register_profile("asl", deadline=None)  # tests assert no time: other programs may be running
    settings.load_profile("asl")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that are listed as slow, and those that need a rendered demo; the longest begin."""
    order = {module: position for position, module in enumerate(LONGEST_MODULES)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))
    for item in items:
        name, fixtures = item.name.partition("[")[0], getattr(item, "fixturenames", ())
        if item.path.stem in SLOW_MODULES or name in SLOW_TESTS or "demo_dir" in fixtures:
            item.add_marker(pytest.mark.slow)


@pytest.hookimpl(tryfirst=True)  # before fixtures are made
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Where there is no GPU, its tests are skipped, or fail if ``ASL_REQUIRE_GPU=1`` promises one."""
    if not item.get_closest_marker("gpu"):
        return
    import torch

    if not torch.cuda.is_available():
        if os.environ.get("ASL_REQUIRE_GPU") == "1":
            pytest.fail("no CUDA device, although ASL_REQUIRE_GPU=1", pytrace=False)
        pytest.skip("no CUDA device")


def pytest_collection_finish() -> None:
    """Collect garbage less often: all modules are imported by now, and a pass over them takes a second."""
    gc.freeze()
    gc.enable()
    gc.set_threshold(50_000, 20, 50)


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder of 3 glosses with 4 training, 2 val and 2 test clips each; read only, but for
    the frames that training keeps beside them."""
    from clips import write_dataset

    data_dir = tmp_path_factory.mktemp("tiny")
    write_dataset(data_dir, {"train": 4, "val": 2, "test": 2})
    return data_dir


@pytest.fixture(scope="session")
def checkpoint(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint for the clips of ``tiny_data``."""
    from made_checkpoint import write_checkpoint

    return write_checkpoint(tmp_path_factory.mktemp("checkpoints") / "best.pt", tiny_data)


@pytest.fixture(scope="session")
def demo_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small demo with every kind of raw file, of all processes of tests; to be read, not written to."""
    from asl.demo import make_demo

    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    with (shared / "demo.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        make_demo(shared / "demo", train_per_gloss=1, val_per_gloss=1, test_per_gloss=1)
    return shared / "demo"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium or Chrome. While it is there an event loop runs, so that asyncio.run() fails."""
    with started_browser() as started:
        yield started


@pytest.fixture(scope="session", autouse=True)
def quick_workers() -> None:
    """Let processes of :class:`asl.workers.Workers` start and end at once, whichever tests come first."""
    import pebble

    from asl.machine import worker_context
    from asl.preprocess import WORKER_MODULES

    worker_context([*WORKER_MODULES, "asl.data.frames.missing", "asl.inference.clip_frames"])
    multiprocessing.forkserver.ensure_running()  # after it has started it imports nothing for later ones
    pebble.CONSTS.sleep_unit = 0.01  # seconds; a tenth of the time in which a pool sees that it is to end


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """The networks of the tests are so small that threads only wait for each other."""
    import torch

    torch.set_num_threads(1)
