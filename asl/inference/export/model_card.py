"""The model card: ``README.md`` in the form of Hugging Face, with what is known and what is not."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from asl import __version__
from asl.config.setting import ConfigError
from asl.contract.frame_store import SIGNER
from asl.data.framing import CROP, PAD, SQUEEZE, Framing
from asl.data.split import OFFICIAL, WLASL_AUTHORS, SplitSettings
from asl.evaluation.metrics_file import METRICS, evaluation_folder, older_than, other_checkpoint
from asl.inference.export.measure import TOLERANCE, Measured
from asl.training.identity import dataset_names

_FEW_GLOSSES = 20  # listed in the card


@dataclass(frozen=True)
class Evaluation:
    """The figures of ``evaluate.py`` for a checkpoint, or why there are none."""

    metrics: Mapping[str, Any] | None
    missing: str = ""


def find_evaluation(file: str | None, checkpoint: Path, info: Mapping[str, Any]) -> Evaluation:
    """The figures of a checkpoint.

    Args:
        file: ``metrics.json`` of ``evaluate.py``. None: that of test beside the checkpoint, if there is one.
        checkpoint: the checkpoint.
        info: its key ``asl``.

    Raises:
        ConfigError: ``file`` is missing, damaged, or of another checkpoint.
    """
    figure = SplitSettings.named(info.get("split", OFFICIAL)).figure_on("test")
    path = evaluation_folder(checkpoint, figure) / METRICS if file is None else Path(file)
    if file is None and not path.is_file():
        return Evaluation(None, f"{path} does not exist. Run: python evaluate.py checkpoint={checkpoint}")
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
        problem = other_checkpoint(metrics, info)
    except (OSError, ValueError, KeyError, TypeError) as error:
        problem = f"it cannot be read ({type(error).__name__}: {error})"
    if file is None and not problem:
        problem = older_than(checkpoint, path)
    if not problem:
        return Evaluation(metrics)
    if file is not None:
        raise ConfigError(f"metrics={file}: {problem}. Give the metrics.json of evaluate.py for {checkpoint}")
    return Evaluation(None, f"{path}: {problem}. Run: python evaluate.py checkpoint={checkpoint}")


def model_card(
    info: Mapping[str, Any],
    rows: Sequence[Measured],
    clips: str,
    evaluation: Evaluation,
    *,
    license: str | None,
) -> str:
    """The content of the card.

    Args:
        info: the checkpoint's key ``asl``.
        rows: the checkpoint, then each file.
        clips: the clips that were measured, in words; empty if none were.
        evaluation: the figures of ``evaluate.py``.
        license: of the weights. None: not stated.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    files = [row.name for row in rows[1:]]
    titles, *lines = table_cells(rows)
    metrics = evaluation.metrics
    framing = Framing.of(info)
    return environment.get_template("model_card.md").render(
        front_matter=_front_matter(info, files, metrics, license).rstrip(),
        info=info,
        version=__version__,
        split=info.get("split", OFFICIAL),
        glosses=", ".join(info["glosses"][:_FEW_GLOSSES]),
        more_glosses=max(0, len(info["glosses"]) - _FEW_GLOSSES),
        counts={split: len(clips) for split, clips in info.get("clips", {}).items()},
        sampling=_sampling_in_words(info["sampling"]),
        framing=framing,
        framing_in_words=_framing_in_words(framing),
        files=files,
        titles=titles,
        lines=lines,
        compared_on=compared_on(clips),
        metrics=metrics,
        missing=evaluation.missing,
        accuracies=list(_accuracies(metrics)) if metrics else [],
        probes=list(_probes(metrics)) if metrics else [],
        license=license,
    )


def _front_matter(
    info: Mapping[str, Any], files: Sequence[str], metrics: Mapping[str, Any] | None, license: str | None
) -> str:
    has_onnx = any(name.endswith(".onnx") for name in files)
    content: dict[str, Any] = {
        "license": license or "unknown",
        "library_name": "onnx" if has_onnx else "pytorch",
        "pipeline_tag": "video-classification",
        "tags": ["sign-language-recognition", "isolated-signs", info["model"]["name"], *dataset_names(info)],
    }
    if metrics is not None:
        accuracy = [
            {"type": "accuracy", "name": name, "value": round(row["value"], 4)}
            for name, row in _figures(metrics).items()
        ]
        data = {"name": metrics["dataset"], "type": metrics["dataset"], "split": metrics["split"]}
        result = {"task": {"type": "video-classification"}, "dataset": data, "metrics": accuracy}
        name = f"{info['model']['name']}-{info['dataset']}"
        content |= {"metrics": ["accuracy"], "model-index": [{"name": name, "results": [result]}]}
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def table_cells(rows: Sequence[Measured]) -> list[list[str]]:
    """The table of the checkpoint and the files: the titles, then the cells of each row."""
    with_clips = all(row.top1 is not None for row in rows)
    titles = ["file", "size", "clips/s", "largest difference"]
    cells = [[*titles, "top-1", "same answer"] if with_clips else titles]
    for row in rows:
        difference = "" if row is rows[0] else f"{row.difference:.1g}"
        line = [row.name, f"{row.num_bytes / 1e6:.1f} MB", f"{row.clips_per_s:.3g}", difference]
        if with_clips:
            line += [f"{row.top1:.1%}", "" if row is rows[0] else f"{row.same:.1%}"]
        cells.append(line)
    return cells


def compared_on(clips: str) -> str:
    """What the columns of the table were measured on.

    Args:
        clips: in words; empty if no clips were measured.
    """
    where = f"{clips}; so are top-1 and the share of clips with the same answer as the checkpoint's"
    return (
        "Clips/s: on the CPU of the machine that exported. Largest difference: of a "
        f"probability from the checkpoint's, on {where if clips else 'made-up clips'}. Files of fp32 that "
        f"differ by more than {TOLERANCE:g} are not written."
    )


def _framing_in_words(framing: Framing) -> str:
    """Which part of a picture fills the input."""
    margin = framing.resize[0] / framing.crop_size
    whole = {
        SQUEEZE: "The whole upright picture is scaled to this size without keeping its aspect ratio.",
        PAD: "The whole upright picture lies in the middle of a black square, "
        f"{margin:.3g} times as large as its longer side.",
        CROP: "The square in the middle of the upright picture, as large as its shorter side.",
    }[framing.fit]
    if framing.crop != SIGNER:
        return whole
    return (
        f"The square around the signer, {framing.enlarge * margin:.3g} times as large as the longer side of "
        f"the signer's box. Where there is no box: {whole[0].lower()}{whole[1:]}"
    )


def _sampling_in_words(sampling: Mapping[str, Any]) -> str:
    """Which frames of a clip are drawn."""
    fps = sampling["fps"]
    grid = "frames of the video" if fps is None else f"points of a grid of {fps:g} points a second"
    window = (sampling["clip_len"] - 1) * sampling["frame_stride"] + 1
    shorter = "the last frame is repeated" if sampling["pad"] == "edge" else "the clip starts over"
    longer = "are spread evenly over it" if sampling["long"] == "uniform" else "are taken from its middle"
    return (
        f"{sampling['clip_len']}, at a distance of {sampling['frame_stride']} {grid}, from the start of the "
        f"clip. If it is shorter than {window}, {shorter}; if it is longer, the frames {longer}"
    )


def _figures(metrics: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The accuracies by name, such as ``top-1 over instances``."""
    prefix, accuracies = "", metrics.get("accuracy")
    if accuracies is None:  # the epoch was chosen on test
        prefix, accuracies = f"{WLASL_AUTHORS} ", metrics[f"{WLASL_AUTHORS}_accuracy"]
    return {
        f"{prefix}{name.replace('top', 'top-')} over {over}": row
        for name, of_name in accuracies.items()
        for over, row in of_name.items()
    }


def _accuracies(metrics: Mapping[str, Any]) -> Iterator[list[str]]:
    for name, row in _figures(metrics).items():
        yield [name, f"{row['value']:.1%}", _interval(row["interval"]), _interval(row["interval_by_signer"])]


def _probes(metrics: Mapping[str, Any]) -> Iterator[list[str]]:
    for name, accuracies in metrics["probes"].items():
        row = accuracies["top1"]["instances"]
        yield [name, f"{row['value']:.1%}", _interval(row["interval"])]


def _interval(interval: Sequence[float] | None) -> str:
    return "unknown" if interval is None else f"{interval[0]:.1%} to {interval[1]:.1%}"
