"""The configuration of ``python predict.py``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asl.config.setting import setting
from asl.inference.app.settings import ServerSettings


@dataclass(kw_only=True)
class PredictConfig:
    """All keys of ``python predict.py``. The checkpoint decides which frames are drawn."""

    checkpoint: str = setting("checkpoints/best.pt", "the trained recogniser")
    input: Any = setting(
        None,
        "a video, a folder, a pattern ('clips/*.mp4'), several as [a.mp4,b.mp4], or a camera (camera:0)",
    )
    start_s: float | None = setting(None, "where the part begins that is looked at; null: at the start", ge=0)
    end_s: float | None = setting(None, "where it ends; null: at the end", gt=0)
    top: int = setting(5, "glosses listed for each video", ge=1)
    format: str = setting("table", "of the result", choices=["table", "json", "csv"])
    output: str | None = setting(None, "file of the result; null: the terminal")
    windows: bool = setting(False, "look for signs in a long video, in windows that slide over it")
    window_s: float | None = setting(
        None, "seconds of a window; null: the median of the training clips", gt=0, le=60
    )
    stride_s: float | None = setting(
        None, "seconds from one window to the next; null: a quarter of the window", gt=0
    )
    threshold: float | None = setting(
        None, "least probability of a detected sign; null: chosen on val, see metrics", ge=0, le=1
    )
    metrics: str | None = setting(
        None,
        "metrics.json of evaluate.py split=val; null: evaluation/{checkpoint}-val/metrics.json beside the "
        "checkpoint, if it is there",
    )
    val_precision: float = setting(
        0.9, "share of right val clips from which the threshold is chosen", gt=0, le=1
    )
    timelines: str = setting("timelines", "folder of the detected signs as CSV, JSON, WebVTT and EAF (ELAN)")
    num_workers: int | None = setting(None, "processes that decode videos; null: one per core", ge=1)
    timeout_s: float = setting(
        300.0, "time limit for decoding a video, with windows=true for half a minute of it", gt=0
    )
    accelerator: str = setting(
        "auto", "device type; auto: a GPU if there is one", choices=["auto", "cpu", "gpu"]
    )
    app: bool = setting(False, "serve a page for the browser instead, with the keys of server")
    server: ServerSettings = field(default_factory=ServerSettings)

    @property
    def inputs(self) -> list[str]:
        """The names in ``input``."""
        names = self.input if isinstance(self.input, list) else [self.input]
        return [str(name) for name in names if name is not None and str(name)]

    def problems(self) -> Iterator[str]:
        """Yield a message for an empty part, a file of another format, and videos and keys not used."""
        if self.app and self.inputs:
            yield f"input={self.input}: app=true gets its videos from the page; leave input out"
        if self.end_s is not None and self.end_s <= (self.start_s or 0):
            yield f"start_s={self.start_s}, end_s={self.end_s}: the part is empty"
        if any(name.startswith("camera:") for name in self.inputs):
            return
        suffix = "" if self.output is None else Path(self.output).suffix.lower().removeprefix(".")
        if suffix in ("csv", "json") and suffix != self.format:
            yield f"output={self.output}: format={self.format} writes another format; set format={suffix}"
        if not self.windows:
            for key in ("window_s", "stride_s", "threshold", "metrics"):
                if getattr(self, key) is not None:
                    yield f"{key}={getattr(self, key)}: is for windows=true and for cameras; add windows=true"
