"""Every key of ``python download.py``, composed of the classes that own them."""

from __future__ import annotations

from dataclasses import dataclass, field

from asl.config.setting import setting
from asl.contract.paths import Paths
from asl.datasets.base import SignDataset
from asl.download.settings import DownloadSettings


@dataclass(kw_only=True)
class DownloadConfig:
    """Every key of ``python download.py``."""

    paths: Paths = field(default_factory=Paths)
    dataset: SignDataset = field(default_factory=SignDataset)
    download: DownloadSettings = field(default_factory=DownloadSettings)
    dry_run: bool = setting(False, "say what would be fetched, and fetch nothing")
