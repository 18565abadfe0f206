"""``python predict.py``: videos to glosses, and long videos to timelines of signs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.progress import track

from asl.codecs.camera import open_camera
from asl.codecs.video_file import VideoError
from asl.config.setting import ConfigError
from asl.contract.frame_store import SIGNER
from asl.errors import Terminated, UserError
from asl.inference.camera import changes, watch
from asl.inference.config import PredictConfig
from asl.inference.console import say, show_live, show_predictions, show_timelines
from asl.inference.inputs import camera_number, find_videos
from asl.inference.prediction import Failure, Prediction, VideoFileError
from asl.inference.predictor import Predictor, load
from asl.inference.threshold import DEFAULT_THRESHOLD, ThresholdError, threshold_beside, threshold_from
from asl.inference.timeline import Timeline, write_timeline
from asl.inference.windows import detect

Item = TypeVar("Item")

#: A video that lasts as many times as long as training clips hardly shows one sign.
_LONG = 3


def predict(config: PredictConfig) -> int:
    """Predict the videos that the configuration names, and print or write the result.

    Args:
        config: the checked configuration.

    Returns:
        The number of videos that could not be predicted; each has a line on stderr.

    Raises:
        UserError: an error that the user can fix and that concerns all videos.
    """
    if config.app:
        from asl.inference.app.serve import serve  # its packages are not those of predictions in a terminal

        serve(config.checkpoint, config.server, accelerator=config.accelerator)
        return 0
    camera = camera_number(config.inputs)
    if camera is not None:
        return _predict_camera(config, camera)
    files = find_videos(config.inputs)
    predictor = _load(config)
    return (_predict_timelines if config.windows else _predict_videos)(config, predictor, files)


def _load(config: PredictConfig) -> Predictor:
    predictor = load(config.checkpoint, accelerator=config.accelerator)
    if predictor.recogniser.framing.crop == SIGNER:
        say(
            f"{config.checkpoint} was trained on the square around each signer (data.crop=signer). Videos "
            "have no box of their signer, so the whole picture is used; let the signer fill it"
        )
    return predictor


def _predict_videos(config: PredictConfig, predictor: Predictor, files: list[Path]) -> int:
    found = predictor.predict_many(
        files,
        start_s=config.start_s,
        end_s=config.end_s,
        top=config.top,
        workers=config.num_workers,
        timeout_s=config.timeout_s,
    )
    results = list(_reported(found, len(files)))
    show_predictions(
        results, form=config.format, output=_path(config.output), top=min(config.top, len(predictor.glosses))
    )
    longest_s = _LONG * predictor.recogniser.window_s
    for one in results:
        if isinstance(one, Prediction) and one.end_s - one.start_s > longest_s:
            say(
                f"{one.file} lasts {one.end_s - one.start_s:.1f} s, and clips of one sign about "
                f"{predictor.recogniser.window_s:.1f} s: windows=true looks for several signs"
            )
    return sum(isinstance(one, Failure) for one in results)


def _predict_timelines(config: PredictConfig, predictor: Predictor, files: list[Path]) -> int:
    window_s, stride_s = _window(config, predictor)
    threshold = _threshold(config, predictor)

    def timeline(file: Path) -> Timeline | Failure:
        try:
            windows = predictor.predict_windows(
                file,
                window_s=window_s,
                stride_s=stride_s,
                start_s=config.start_s,
                end_s=config.end_s,
                top=1,
                workers=config.num_workers,
                timeout_s=config.timeout_s,
            )
            return Timeline(file, window_s, stride_s, threshold, tuple(detect(list(windows), threshold)))
        except VideoFileError as error:
            return Failure(file, str(error))

    results = list(_reported(map(timeline, files), len(files)))
    folder, names = Path(config.timelines), Counter[str]()
    for one in results:
        if isinstance(one, Timeline):
            names[one.file.stem] += 1
            number = names[one.file.stem]  # of files in other folders with the same name
            try:
                write_timeline(one, folder, f"{one.file.stem}-{number}" if number > 1 else one.file.stem)
            except OSError as error:
                raise UserError(f"timelines={folder}: {error.strerror or error}") from error
    show_timelines(results, form=config.format, output=_path(config.output), folder=folder)
    return sum(isinstance(one, Failure) for one in results)


def _predict_camera(config: PredictConfig, camera: int) -> int:
    if config.output is not None:
        raise ConfigError(f"output={config.output}: signs of a camera go to stdout; redirect it to a file")
    predictor = _load(config)
    window_s, stride_s = _window(config, predictor)
    threshold = _threshold(config, predictor)
    name = f"camera:{camera}"
    try:
        with open_camera(camera) as frames:
            say(f"{name}: windows of {window_s:.1f} s every {stride_s:.1f} s; Ctrl-C ends")
            windows = watch(frames, predictor, name=name, window_s=window_s, stride_s=stride_s, top=1)
            show_live(changes(windows, threshold), form=config.format)
    except VideoError as error:
        raise VideoFileError(f"{name} {error}") from error
    except Terminated:
        raise
    except KeyboardInterrupt:  # how a camera is meant to be stopped
        return 0
    return 0


def _window(config: PredictConfig, predictor: Predictor) -> tuple[float, float]:
    """Seconds of a window, and from one to the next."""
    window_s = config.window_s or predictor.recogniser.window_s
    return window_s, config.stride_s or window_s / 4


def _threshold(config: PredictConfig, predictor: Predictor) -> float:
    """The threshold, which is said with its reason unless the user has given it."""
    if config.threshold is not None:
        return config.threshold
    info, precision = predictor.recogniser.info, config.val_precision
    try:
        if config.metrics is not None:
            path = Path(config.metrics)
            threshold = threshold_from(path, info, precision)
        else:
            threshold, path = threshold_beside(Path(config.checkpoint), info, precision)
    except ThresholdError as error:
        if config.metrics is not None:
            raise
        say(f"threshold {DEFAULT_THRESHOLD}, which nothing was measured for: {error}")
        return DEFAULT_THRESHOLD
    say(
        f"threshold {threshold:g}: of val clips with at least this confidence "
        f"{100 * precision:g} % or more are right ({path})"
    )
    return threshold


def _reported(results: Iterable[Item], count: int) -> Iterator[Item]:
    """The results, with a bar on stderr and a line for each failure."""
    console = Console(stderr=True)
    shown = track(
        results, "videos", total=count, console=console, transient=True, disable=not console.is_terminal
    )
    for one in shown:
        if isinstance(one, Failure):
            say(f"error: {one.message}")
        yield one


def _path(name: str | None) -> Path | None:
    return None if name is None else Path(name)
