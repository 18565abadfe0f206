"""Write ``input.html``: training and evaluation clips as the network gets them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asl import __version__
from asl.config.setting import as_override
from asl.contract.manifest import Clip
from asl.data.augmentation import Augmentation
from asl.data.datamodule import ClipDataModule
from asl.data.framing import Framing
from asl.data.sampling import Sampling
from asl.data.transforms import to_pictures
from asl.page.addresses import jpeg_uri
from asl.page.render import render_page, write_page
from asl.page.strip import spread, strip_jpeg

PAGE = "input.html"

CLIPS = 8  # of each split that is shown
FRAMES = 12  # of each clip, evenly spaced
SIDE = 112  # larger frames are made as small, in pixels

_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Strip:
    """A clip, and frames of it side by side."""

    clip: Clip
    uri: str
    num_frames: int


def write_input_page(datamodule: ClipDataModule, augmentation: Augmentation, folder: Path) -> Path:
    """Write the page, and return its file.

    It shows the first clips that training draws, augmented as they will be, and clips spread evenly over the
    split that chooses the best epoch. Frames that are not stored are made first, of these clips only.

    Args:
        datamodule: of the run, without a Trainer and not compiled.
        augmentation: of the run.
        folder: the page's folder.

    Raises:
        ClipError: a clip cannot be read.
    """
    evaluated = datamodule.data.figures[datamodule.data.selection]
    path = folder / PAGE
    folder.mkdir(parents=True, exist_ok=True)
    html = render_page(
        _FOLDER,
        tables={},
        charts={},
        training=list(_strips(datamodule, "train")),
        evaluation=list(_strips(datamodule, evaluated)),
        evaluated=evaluated,
        mixes=augmentation.mixup > 0,
        keys=[
            *_overrides("data", Sampling, datamodule.data),
            *_overrides("data", Framing, datamodule.data),
            *_overrides("augment", Augmentation, augmentation),
        ],
        boxes={split: sum(clip.box != "" for clip in dataset.clips) for split, dataset in _used(datamodule)},
        counts={split: len(dataset) for split, dataset in _used(datamodule)},
        version=__version__,
    )
    write_page(path, html)
    return path


def _used(datamodule: ClipDataModule) -> Iterator[tuple[str, Any]]:
    return ((split, dataset) for split, dataset in datamodule.datasets.items() if len(dataset))


def _strips(datamodule: ClipDataModule, split: str) -> Iterator[Strip]:
    clips, video = datamodule.sample(split, CLIPS)
    for clip, frames in zip(clips, to_pictures(video, **datamodule.normalisation), strict=True):
        shown = frames[spread(len(frames), FRAMES)]
        jpeg = strip_jpeg(shown, min(SIDE, datamodule.data.crop_size))
        yield Strip(clip, jpeg_uri(jpeg), len(shown))


def _overrides(group: str, settings_class: type[Any], settings: Any) -> list[str]:
    """The settings as they are written on the command line: ``data.fit=pad``."""
    names = [field.name for field in dataclasses.fields(settings_class)]
    return [f"{group}.{name}={as_override(getattr(settings, name))}" for name in names]
