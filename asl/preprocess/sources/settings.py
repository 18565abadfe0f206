"""Settings of matching, ``matching.*`` in the configuration."""

from __future__ import annotations

from dataclasses import dataclass

from asl.config.setting import setting


@dataclass(kw_only=True)
class MatchingSettings:
    """Which raw file is an instance's source."""

    policy: str = setting(
        "evidence",
        "evidence: never a file that may be another video; url_name: the usual unsafe rule, to compare",
        choices=["evidence", "url_name"],
    )
    suspect: str = setting(
        "keep",
        "a file that its length or size speaks against, though its name is nobody else's: keep or drop",
        choices=["keep", "drop"],
    )
    end_tolerance_s: float | None = setting(
        None, "a segment may reach this far past its source's end; null: one frame of dataset.fps", ge=0
    )
