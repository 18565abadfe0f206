"""An evaluation (``python evaluate.py``): a checkpoint and a manifest to ``predictions.csv`` and figures."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from asl.config.setting import ConfigError
from asl.data.split import OFFICIAL, WLASL_AUTHORS, SplitSettings, protocol
from asl.datasets.base import SignDataset
from asl.datasets.instance import Metadata, MetadataError
from asl.evaluation.accuracy import measure
from asl.evaluation.calibration import calibrate
from asl.evaluation.checkpoint_clips import check_reader, read_checkpoint_clips
from asl.evaluation.comparison import align, compare, seed_spread
from asl.evaluation.config import EvaluateConfig
from asl.evaluation.confusion import class_results, confusions
from asl.evaluation.console import print_comparison, print_evaluation, print_seeds
from asl.evaluation.coverage import measure_coverage
from asl.evaluation.groups import group_results
from asl.evaluation.inference import UNCHANGED, predict_clips
from asl.evaluation.metrics_file import METRICS, evaluation_folder
from asl.evaluation.page.films import clips_to_show, read_films
from asl.evaluation.page.history import read_history
from asl.evaluation.page.page import build_page
from asl.evaluation.predictions import Prediction, make_predictions, read_predictions, write_predictions
from asl.evaluation.probes import PROBES, chosen_probes
from asl.files import atomic_write_text
from asl.inference.recogniser import Recogniser, choose_device
from asl.page.render import write_page
from asl.training.checkpoints import read_checkpoint
from asl.training.device_errors import DeviceMemoryError, is_out_of_memory
from asl.training.history import HISTORY
from asl.training.input_page.page import PAGE as INPUT_PAGE

PREDICTIONS, PAGE = "predictions.csv", "evaluation.html"
COMPARISON = "comparison.json"


def evaluate(config: EvaluateConfig) -> dict[str, Any]:
    """Measure a checkpoint, or compare predictions that were made before.

    Args:
        config: the checked configuration.

    Returns:
        The content of ``metrics.json``, or of ``comparison.json``.

    Raises:
        UserError: an error that the user can fix; before the network runs if it can be known then.
    """
    if config.compare or config.seeds:
        return _compare(config)
    return _measure(config)


def _measure(config: EvaluateConfig) -> dict[str, Any]:
    path = Path(config.checkpoint)
    if config.output is not None and Path(config.output).resolve() == path.resolve().parent:
        raise ConfigError(
            f"output={config.output} is the folder of the checkpoint, where {METRICS} is that of its "
            "training. Choose another folder"
        )
    device = choose_device(config.accelerator)
    checkpoint = read_checkpoint(path)
    info = checkpoint["asl"]
    labelled = read_checkpoint_clips(
        info, path, dataset=config.dataset.name, data=config.data, split=config.split
    )
    glosses, clips = labelled.glosses, labelled.clips
    check_reader(config.reader, config.frames, info, path)
    chosen = [clip for clip in clips if clip.split == config.split]
    split_name = info.get("split", OFFICIAL)
    figure = SplitSettings.named(split_name).figure_on(config.split)
    metadata = _metadata(config.dataset) if len(config.data.manifests) == 1 else None
    recogniser = Recogniser(checkpoint, device=device, precision=config.precision)
    data_dir = Path(config.paths.data_dir)
    reader = config.reader.build(config.frames, Path(config.paths.frames_dir))
    with _explained_memory_error():
        probabilities = predict_clips(
            recogniser,
            chosen,
            data_dir=data_dir,
            reader=reader,
            views=config.views,
            probes=chosen_probes(config.probe),
            batch_size=config.data.batch_size,
            num_workers=config.data.reader_processes,
            timeout_s=config.reader.timeout_s,
            seed=config.seed,
        )
    predictions = {
        name: make_predictions(
            chosen,
            of_clips,
            glosses,
            figure=figure,
            signers_in_train={clip.signer_id for clip in clips if clip.split == "train"},
            sites={one.video_id: one.site for one in metadata.instances} if metadata else {},
        )
        for name, of_clips in probabilities.items()
    }
    metrics = {
        "checkpoint": str(path),
        "epoch": info["epoch"],
        "model": info["model"]["name"],
        "dataset": "+".join(config.data.dataset_names(config.dataset.name)),
        "manifest": config.data.manifest,
        "data_split": split_name,
        **protocol(figure),
        "split": config.split,
        "views": config.views,
        "device": str(device.type),
        "precision": config.precision,
        "glosses": len(glosses),
        "left_out": labelled.left_out,
        "coverage": measure_coverage(chosen, metadata, split=config.split, split_name=split_name),
        **summarize(predictions, resamples=config.resamples, seed=config.seed),
    }
    folder = evaluation_folder(path, figure, views=config.views)
    if config.output is not None:
        folder = Path(config.output)
    films = read_films(
        clips_to_show(chosen, predictions[UNCHANGED]),
        data_dir=data_dir,
        reader=reader,
        sampling=recogniser.sampling(config.views // 2, config.views),
        framing=recogniser.framing,
    )
    history = read_history(path.with_name(HISTORY))
    page = build_page(
        metrics,
        predictions[UNCHANGED],
        history=history,
        input_page=path.with_name(INPUT_PAGE),
        films=films,
        folder=folder,
    )
    named = {_name(key, figure): value for key, value in metrics.items()}
    _write(folder, named, predictions)
    write_page(folder / PAGE, page)
    print_evaluation(metrics, folder)
    return plain(named)


def _name(key: str, figure: str) -> str:
    """A key of ``metrics.json``. Accuracies that are no test accuracies have a name that says so."""
    is_named = figure == WLASL_AUTHORS and key in ("accuracy", "accuracy_clean")
    return f"{figure}_{key}" if is_named else key


def summarize(
    predictions: Mapping[str, Sequence[Prediction]], *, resamples: int, seed: int
) -> dict[str, Any]:
    """All figures that follow from predictions, in the form of ``metrics.json``.

    ``accuracy_clean`` is over the clean clips. It is None if all clips are clean, or none is.

    Args:
        predictions: by probe; those of the clips as they are under :data:`UNCHANGED`.
        resamples: resamples of each bootstrap.
        seed: of the bootstraps.
    """
    unchanged = predictions[UNCHANGED]
    clean = [one for one in unchanged if one.is_clean]
    return {
        "clips": len(unchanged),
        "glosses_with_clips": len({one.label for one in unchanged}),
        "signers": len({one.signer_id for one in unchanged if one.signer_id}),
        "resamples": resamples,
        "seed": seed,
        "clean_clips": len(clean),
        "accuracy": measure(unchanged, resamples=resamples, seed=seed),
        "accuracy_clean": measure(clean, resamples=resamples, seed=seed)
        if 0 < len(clean) < len(unchanged)
        else None,
        "probes": {
            name: measure(changed, resamples=resamples, seed=seed)
            for name, changed in predictions.items()
            if name != UNCHANGED
        },
        "calibration": calibrate(unchanged),
        "groups": group_results(unchanged),
        "classes": class_results(unchanged),
        "confusions": confusions(unchanged),
    }


def _compare(config: EvaluateConfig) -> dict[str, Any]:
    files = config.compare or config.seeds
    if len(set(files)) < len(files):
        raise ConfigError(f"{'compare' if config.compare else 'seeds'}={files}: a file is named twice")
    tables = align({file: read_predictions(file) for file in files})
    result: dict[str, Any] = {"files": files, "clips": len(tables[0])}
    if config.compare:
        result["comparisons"] = [
            compare(tables[0], other, resamples=config.resamples, seed=config.seed) for other in tables[1:]
        ]
        print_comparison(result)
    else:
        result["accuracy"] = seed_spread(tables)
        print_seeds(result)
    if config.output is not None:
        _write_json(Path(config.output) / COMPARISON, result)
    return plain(result)


def _metadata(dataset: SignDataset) -> Metadata | None:
    """The data set's metadata. None if it cannot be read: then only coverage and web sites are unknown."""
    try:
        return dataset.load_with_splits()
    except MetadataError:
        return None


@contextmanager
def _explained_memory_error() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        first = next(iter(str(error).splitlines()), "CUDA out of memory")
        raise DeviceMemoryError(
            f"{first}\nTo continue: end other programs on the GPU (nvidia-smi), or use accelerator=cpu"
        ) from error


def _write(folder: Path, metrics: Mapping[str, Any], predictions: Mapping[str, Sequence[Prediction]]) -> None:
    """Write all files, and remove predictions of probes that an earlier evaluation left in the folder."""
    for name in (UNCHANGED, *PROBES):
        file = folder / (PREDICTIONS if name == UNCHANGED else f"predictions_{name}.csv")
        if name in predictions:
            write_predictions(file, predictions[name])
        else:
            file.unlink(missing_ok=True)
    _write_json(folder / METRICS, metrics)


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    atomic_write_text(path, json.dumps(plain(content), indent=2, ensure_ascii=False) + "\n")


def plain(value: Any) -> Any:
    """Dataclasses, tuples and mappings as JSON has them; the keys 1, 5, 10 of accuracies as ``top1``, ..."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return plain({field.name: getattr(value, field.name) for field in dataclasses.fields(value)})
    if isinstance(value, Mapping):
        return {f"top{key}" if isinstance(key, int) else key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value
