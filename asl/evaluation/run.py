"""An evaluation (``python evaluate.py``): a checkpoint and a manifest to ``predictions.csv`` and figures."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from asl.config.setting import ConfigError, shell_override
from asl.contract.manifest import Clip, ManifestError
from asl.data.read_clips import read_labelled_clips
from asl.data.settings import DataSettings
from asl.data.split import OFFICIAL, WLASL_AUTHORS, SplitSettings, protocol, split_clips
from asl.datasets.base import SignDataset
from asl.datasets.instance import Metadata, MetadataError
from asl.evaluation.accuracy import measure
from asl.evaluation.calibration import calibrate
from asl.evaluation.comparison import align, compare, seed_spread
from asl.evaluation.config import EvaluateConfig
from asl.evaluation.confusion import class_results, confusions
from asl.evaluation.console import print_comparison, print_evaluation, print_seeds
from asl.evaluation.coverage import measure_coverage
from asl.evaluation.groups import group_results
from asl.evaluation.inference import UNCHANGED, predict_clips
from asl.evaluation.page.films import clips_to_show, read_films
from asl.evaluation.page.history import HISTORY, read_history
from asl.evaluation.page.page import build_page
from asl.evaluation.predictions import Prediction, make_predictions, read_predictions, write_predictions
from asl.evaluation.probes import PROBES, chosen_probes
from asl.files import atomic_write_text
from asl.inference.recogniser import Recogniser, choose_device
from asl.messages import first_few
from asl.page.render import write_page
from asl.training.checkpoints import CheckpointError, read_checkpoint
from asl.training.device_errors import DeviceMemoryError, is_out_of_memory
from asl.training.identity import clip_keys, gloss_difference

METRICS, PREDICTIONS, PAGE = "metrics.json", "predictions.csv", "evaluation.html"
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
    _check_reader(config, info)
    glosses, clips = _read_clips(config, info, path)
    chosen = [clip for clip in clips if clip.split == config.split]
    if not chosen:
        raise ManifestError(f"{config.data.manifest} has no {config.split} clips. Measure another split=...")
    split_name = info.get("split", OFFICIAL)
    figure = SplitSettings.named(split_name).figure_on(config.split)
    metadata = _metadata(config.dataset)
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
        "dataset": info["dataset"],
        "manifest": config.data.manifest,
        "data_split": split_name,
        **protocol(figure),
        "split": config.split,
        "views": config.views,
        "device": str(device.type),
        "precision": config.precision,
        "glosses": len(glosses),
        "coverage": measure_coverage(chosen, metadata, split=config.split, split_name=split_name),
        **summarize(predictions, resamples=config.resamples, seed=config.seed),
    }
    folder = _folder(config, figure)
    films = read_films(
        clips_to_show(chosen, predictions[UNCHANGED]),
        data_dir=data_dir,
        reader=reader,
        sampling=recogniser.sampling(config.views // 2, config.views),
        size=recogniser.size,
        crop_size=info["crop_size"],
    )
    history = read_history(path.with_name(HISTORY))
    page = build_page(metrics, predictions[UNCHANGED], history=history, films=films, folder=folder)
    written = metrics
    if figure == WLASL_AUTHORS:
        written = {
            f"{figure}_{key}" if key in ("accuracy", "accuracy_clean") else key: value
            for key, value in metrics.items()
        }
    _write(folder, written, predictions)
    write_page(folder / PAGE, page)
    print_evaluation(metrics, folder)
    return plain(written)


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


def _check_reader(config: EvaluateConfig, info: Mapping[str, Any]) -> None:
    """Raise ConfigError if the reader cannot give the frames that the checkpoint asks for."""
    data = DataSettings(**info["sampling"], resize=list(info["resize"]), crop_size=info["crop_size"])
    problems = list(config.reader.problems_with(data, config.frames))
    if problems:
        raise ConfigError("\n".join(problems) + f"\n(data.* are those of {config.checkpoint})")


def _read_clips(config: EvaluateConfig, info: Mapping[str, Any], path: Path) -> tuple[list[str], list[Clip]]:
    """Read the glosses by label, and the clips with the checkpoint's split, and check that they belong to it.

    Raises:
        CheckpointError: the checkpoint was trained on another data set, with other glosses, with a split of
            a later version, or on clips that are to be measured.
    """
    if info["dataset"] != config.dataset.name:
        raise CheckpointError(
            f"{path} was trained on the data set {info['dataset']}, and this is {config.dataset.name}. "
            f"Choose dataset={info['dataset']}; for other clips of its glosses, add data.manifest=..."
        )
    manifest = Path(config.data.manifest)
    glosses, clips = read_labelled_clips(manifest, config.data.label_map)
    other_glosses = gloss_difference(info["glosses"], glosses)
    if other_glosses:
        raise CheckpointError(
            f"{path} was trained with another label map than that of {manifest}: {other_glosses}. Give the "
            "manifest and the label map it was trained on with data.manifest=... and data.label_map=..."
        )
    try:
        split = SplitSettings.named(info.get("split", OFFICIAL))  # not in checkpoints of the first version
    except ValueError as error:
        raise CheckpointError(
            f"{path} was trained on a split that this version does not know: {error}"
        ) from None
    clips = split_clips(clips, split)
    if config.split != "train":
        theirs = info.get("clips", {})  # not in checkpoints of earlier versions
        trained_on, measured = set(theirs.get("train", {}).values()), theirs.get(config.split, {})
        seen = [  # the training's own split may hold copies: the audit flags them
            name
            for name, key in clip_keys(clips)[config.split].items()
            if key in trained_on and measured.get(name) != key
        ]
        if seen:
            raise CheckpointError(
                f"{path} was trained on {len(seen)} of the {config.split} clips of {manifest} "
                f"({first_few(seen, most=3)}), so their accuracy says nothing about new clips. Give the "
                f"manifest it was trained on: {shell_override('data.manifest', info['manifest'])}"
            )
    return glosses, clips


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


def _folder(config: EvaluateConfig, figure: str) -> Path:
    if config.output is not None:
        return Path(config.output)
    checkpoint = Path(config.checkpoint)
    views = f"-{config.views}views" if config.views > 1 else ""
    return checkpoint.parent / "evaluation" / f"{checkpoint.stem}-{figure}{views}"


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
