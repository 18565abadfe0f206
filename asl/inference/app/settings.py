"""The keys ``server.*`` of ``python predict.py app=true``."""

from __future__ import annotations

from dataclasses import dataclass

from asl.config.setting import setting


@dataclass(kw_only=True)
class ServerSettings:
    """Where the page is served, and its limits."""

    host: str = setting("127.0.0.1", "address; 0.0.0.0: the whole network can use the page")
    port: int = setting(7860, "port of the page", ge=1, le=65535)
    max_mb: int = setting(50, "megabytes of a video", ge=1)
    max_s: float = setting(30.0, "seconds of a video", gt=0)
    timeout_s: float = setting(30.0, "time limit for decoding a video", gt=0)
    queue: int = setting(32, "requests that may wait, one is worked on; further ones are refused", ge=1)
    keep_s: int = setting(600, "seconds after which videos are removed; all are when the server ends", ge=1)
