"""A training run (``python train.py``): from a manifest to ``last.pt``, ``best.pt`` and ``metrics.json``."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from torch import nn

from asl.config.setting import ConfigError, shell_override
from asl.data.datamodule import ClipDataModule
from asl.data.split import protocol
from asl.files import atomic_write_text
from asl.launch.settings import JobLauncher
from asl.model.classifier import SignClassifier
from asl.model.compiling import drop_compiled_code
from asl.model.weights import Loaded, load_weights
from asl.training.averaged_weights import AveragedWeights
from asl.training.batch_size import Trial, find_batch_size
from asl.training.checkpoints import (
    BEST,
    LAST,
    CheckpointError,
    LastAndBest,
    checkpoint_to_resume,
    copy_checkpoints,
    read_checkpoint,
)
from asl.training.compile_cache import CompileCache
from asl.training.config import TrainConfig
from asl.training.console import (
    CompilationLines,
    EpochLine,
    EpochProgressBar,
    Resumed,
    print_learning_rates,
    print_result,
    print_start,
)
from asl.training.device_errors import explained_errors
from asl.training.early_stop import EarlyStop
from asl.training.history import History
from asl.training.identity import (
    batch_size_of,
    changed_settings,
    check_epochs,
    check_same_run,
    checkpoint_info,
    not_compared,
)
from asl.training.input_page.page import write_input_page
from asl.training.interruption import Interruption
from asl.training.job_folder import checkpoint_folder, in_sweep, locked_folder
from asl.training.lr_finder import STEPS, find_learning_rate
from asl.training.trainer import (
    build_loggers,
    build_trainer,
    check_devices,
    filter_lightning_messages,
    on_gpu,
    resolve_precision,
    shows_bar,
    why_not_compiled,
)
from asl.training.transfer import check_unseen

METRICS = "metrics.json"


def train(config: TrainConfig, *, callbacks: Sequence[pl.Callback] = ()) -> dict[str, Any]:
    """Train, keep the epoch that is best on val, and measure it once on test.

    A page with what the network gets is written first.

    With ``config.find_lr``, suggest a learning rate instead, and write no file. With ``config.show``,
    write only that page.

    Args:
        config: the checked configuration.
        callbacks: Lightning callbacks in addition to those of asl.

    Returns:
        The content of ``metrics.json``; or ``suggested_lr``, or ``page``.

    Raises:
        UserError: an error that the user can fix; before training if it can be known then.
        KeyboardInterrupt: after Ctrl-C; after SIGTERM it is :class:`~asl.errors.Terminated`.
    """
    if isinstance(config.launcher, JobLauncher):
        raise ConfigError(
            f"launcher={config.launcher.cluster}: starts the jobs of a sweep. Add --multirun, also for one"
        )
    if config.show:
        return _show(config)
    check_devices(config.trainer)
    if config.find_lr:
        return _find_learning_rate(config)
    folder = checkpoint_folder(config.paths.checkpoint_dir)
    filter_lightning_messages()
    pl.seed_everything(config.seed, workers=True, verbose=False)

    interruption = Interruption()
    trainer = _build_trainer(config, folder, [interruption, *callbacks])
    resume_from = checkpoint_to_resume(config.resume, folder, first_rank=trainer.is_global_zero)
    datamodule = _build_datamodule(config)
    device = trainer.strategy.root_device
    checkpoint = None if resume_from is None else read_checkpoint(resume_from)
    trial: Trial | None = None
    if config.trainer.batch == "auto":
        if trainer.world_size > 1:
            raise ConfigError(
                f"trainer.batch=auto is for one device, not {trainer.world_size}: set trainer.batch=fixed "
                "and data.batch_size, or trainer.devices=1"
            )
        batch_size = None if checkpoint is None else batch_size_of(checkpoint)
        if batch_size is None and (trial := find_batch_size(config, datamodule, device)) is not None:
            batch_size = trial.batch_size
        if batch_size is not None:
            config = dataclasses.replace(config, data=dataclasses.replace(config.data, batch_size=batch_size))
            datamodule = _build_datamodule(config, at_least=trial.num_bytes if trial is not None else 0)
    info = checkpoint_info(
        config,
        glosses=datamodule.glosses,
        clips=datamodule.clips,
        devices=trainer.world_size,
        precision=resolve_precision(config.trainer.precision, config.trainer.accelerator),
    )
    resumed: Resumed | None = None
    if resume_from is not None and checkpoint is not None:
        stop = trainer.early_stopping_callback
        stopped = isinstance(stop, EarlyStop) and stop.has_stopped(checkpoint)
        check_epochs(checkpoint, resume_from, folder, config.trainer.max_epochs, stopped=stopped)
        check_same_run(checkpoint, resume_from, info)
        resumed = Resumed(
            resume_from,
            epoch=checkpoint["asl"]["epoch"],
            finished=stopped or checkpoint["asl"]["epoch"] == config.trainer.max_epochs,
            changed=changed_settings(checkpoint, info),
            not_compared=not_compared(checkpoint),
        )
    weights = config.model.weights
    unchecked = check_unseen(weights, datamodule.clips) if weights and resumed is None else None
    module, loaded, tuned = _build_classifier(
        config, info, devices=trainer.world_size, load_initial_weights=resumed is None
    )

    with (
        locked_folder(folder) if trainer.is_global_zero else nullcontext(),
        interruption.handled(trainer),
        explained_errors(config.data, config.trainer, datamodule),
    ):
        synchronised = config.trainer.sync_batchnorm and trainer.world_size > 1
        not_compiled = (
            "trainer.sync_batchnorm"
            if synchronised
            else why_not_compiled(config.trainer.compile, device, gains=config.model.gains_by_compiling)
        )
        if not_compiled is None:
            module.compile_training(
                config.model.compiled_parts(module.model),
                cuda_graphs=device.type == "cuda" and config.model.gains_by_cuda_graphs,
            )
        datamodule.decide_placement(device, processes=trainer.num_devices)
        if trainer.is_global_zero:
            if resumed is not None:
                copy_checkpoints(resumed.checkpoint, folder, epoch=resumed.epoch)
            print_start(
                config,
                datamodule,
                module,
                trainer,
                folder=folder,
                resumed=resumed,
                not_compiled=not_compiled,
                tuned=tuned,
                loaded=loaded,
                trial=trial,
                unchecked=unchecked,
            )
        # Before Lightning starts the other processes: they would exceed its time limit while they wait.
        if trainer.local_rank == 0:
            datamodule.prepare_data()
        if trainer.is_global_zero:
            write_input_page(datamodule, config.augment, folder)
        if not_compiled is None:
            datamodule.compile_augmentation()  # after the page, whose batch has another size
        try:
            trainer.fit(module, datamodule=datamodule, ckpt_path=resume_from, weights_only=True)
        finally:
            if not_compiled is None:
                module.zero_grad()  # gradients may lie in the memory of CUDA graphs
                drop_compiled_code()  # the test, or the next job of a sweep, needs that memory
        interruption.raise_if_preempted(trainer)
        metrics = _measure_best(trainer, module, datamodule, folder, info)
    if trainer.is_global_zero:
        atomic_write_text(folder / METRICS, json.dumps(metrics, indent=2) + "\n")
        print_result(metrics, folder)
    return metrics


def _show(config: TrainConfig) -> dict[str, Any]:
    folder = checkpoint_folder(config.paths.checkpoint_dir)
    page = write_input_page(_build_datamodule(config), config.augment, folder)
    print(f"what the network sees: {page}")
    return {"page": str(page)}


def _find_learning_rate(config: TrainConfig) -> dict[str, Any]:
    config = dataclasses.replace(
        config,
        optim=dataclasses.replace(config.optim, freeze_epochs=0),
        trainer=dataclasses.replace(config.trainer, max_epochs=STEPS, progress_bar=False),
    )
    filter_lightning_messages()
    pl.seed_everything(config.seed, workers=True, verbose=False)
    datamodule, interruption = _build_datamodule(config), Interruption()
    with tempfile.TemporaryDirectory() as folder:
        trainer = build_trainer(config.trainer, folder=Path(folder), callbacks=[interruption], logger=[])
        module, _, _ = _build_classifier(
            config, {"glosses": datamodule.glosses}, devices=trainer.world_size, load_initial_weights=True
        )
        with interruption.handled(trainer), explained_errors(config.data, config.trainer, datamodule):
            found = find_learning_rate(trainer, module, datamodule)
    if trainer.is_global_zero:
        print_learning_rates(found, current=config.optim.lr)
    return {"suggested_lr": found.suggestion}


def _build_datamodule(config: TrainConfig, *, at_least: int = 0) -> ClipDataModule:
    """The clips; on a GPU they leave the predicted memory of training and ``at_least`` bytes free."""
    precision = resolve_precision(config.trainer.precision, config.trainer.accelerator)
    predicted = config.model.training_bytes(
        batch_size=config.data.batch_size,
        clip_len=config.data.clip_len,
        crop_size=config.data.crop_size,
        full_precision=precision == "32-true",
    )
    return ClipDataModule(
        config.data.manifest,
        data=config.data,
        reader=config.reader,
        frames=config.frames,
        augmentation=config.augment,
        data_dir=config.paths.data_dir,
        frames_dir=config.paths.frames_dir,
        reserve=max(predicted, at_least) if predicted is not None else at_least or None,
        seed=config.seed,
        mean=config.model.mean,
        std=config.model.std,
    )


def _build_classifier(
    config: TrainConfig, info: dict[str, Any], *, devices: int, load_initial_weights: bool
) -> tuple[SignClassifier, Loaded, str | None]:
    """The classifier, what of it was not loaded, and how its network was changed for a GPU (None: not).

    Without ``load_initial_weights``, ``model.weights`` is not loaded: a checkpoint will be.
    """
    glosses, loaded = info["glosses"], Loaded()
    num_classes = len(glosses)
    network = config.model.build(num_classes)
    if config.model.weights is not None and load_initial_weights:
        loaded = load_weights(network, config.model.weights, config.model, glosses=glosses)
    tuned: str | None = None
    if config.trainer.sync_batchnorm and devices > 1:
        # Instead of padded planes, whose batch norms have statistics for fewer planes than their input has.
        network, tuned = nn.SyncBatchNorm.convert_sync_batchnorm(network), "batch norms over all devices"
    elif on_gpu(config.trainer.accelerator):
        tuned = config.model.tune_for_gpu(network)
    classifier = SignClassifier(
        network,
        config.loss.build(),
        num_classes=num_classes,
        optimizer=config.optim.scaled(devices),
        channels_last=config.model.channels_last,
        seed=config.seed,
        selection=config.data.selection,
        info=info,
    )
    return classifier, loaded, tuned


def _build_trainer(config: TrainConfig, folder: Path, callbacks: Sequence[pl.Callback]) -> pl.Trainer:
    selection = config.data.selection
    last_and_best = LastAndBest(folder, selection)
    own: list[pl.Callback] = [
        *(last_and_best, History(folder, selection)),
        *(EpochLine(last_and_best, selection), CompilationLines(), CompileCache(folder)),
    ]
    if config.optim.ema_decay is not None:
        own.append(AveragedWeights(config.optim.ema_decay))
    if config.monitor is not None:
        own.append(EarlyStop(config.monitor, config.trainer.patience))
    if shows_bar(config.trainer):
        own.append(EpochProgressBar(config.trainer.log_every_n_steps))
    trainer = build_trainer(
        config.trainer,
        folder=folder,
        callbacks=[*own, *callbacks],
        logger=build_loggers(config.logger, folder / "logs"),
    )
    environment: Any = getattr(trainer.strategy, "cluster_environment", None)
    if in_sweep() and trainer.world_size > 1 and not environment.creates_processes_externally:
        raise ConfigError(
            f"--multirun on {trainer.world_size} devices: each further process would start the whole "
            "sweep again. Use trainer.devices=1, or start it with torchrun"
        )
    return trainer


def _measure_best(
    trainer: pl.Trainer,
    module: SignClassifier,
    datamodule: ClipDataModule,
    folder: Path,
    info: dict[str, Any],
) -> dict[str, Any]:
    """Measure the best epoch on test, if it was not chosen there. Returns the content of ``metrics.json``.

    An accuracy is None if there is no clip to measure it on. Those whose name ends with ``_clean`` are over
    the clean clips (see :attr:`Clip.is_clean`).
    """
    best_file = folder / BEST
    if not best_file.is_file():
        raise CheckpointError(
            f"{best_file} does not exist, so there is no best epoch to measure on test. Measure the last one "
            f"with: python evaluate.py {shell_override('checkpoint', folder / LAST)}"
        )
    best = read_checkpoint(best_file)["asl"]
    measured: dict[str, float] = dict(best["metrics"])
    figures = datamodule.data.figures
    if "test" in figures and len(datamodule.datasets["test"]):
        trainer.test(module, datamodule=datamodule, ckpt_path=best_file, verbose=False, weights_only=True)
        measured |= {name: float(value) for name, value in trainer.callback_metrics.items()}
    clean = datamodule.num_clean
    accuracies = {
        f"{name}_{top}{end}": measured.get(f"{name}_{top}{end}") if clean[split] or not end else None
        for name, split in figures.items()
        for end in ("", "_clean")
        for top in ("top1", "top5")
    }
    return {
        **accuracies,
        **protocol(datamodule.data.selection),
        "epochs": read_checkpoint(folder / LAST)["asl"]["epoch"],
        "best_epoch": best["epoch"],
        "num_classes": len(datamodule.glosses),
        "clips": {split: len(dataset) for split, dataset in datamodule.datasets.items()},
        "clean_clips": clean,
        "flagged": datamodule.flagged,
        "flags": datamodule.data.flags,
        **{key: info[key] for key in ("dataset", "manifest", "digest", "split")},
        "model": info["model"]["name"],
    }
