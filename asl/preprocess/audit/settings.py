"""Settings of the audit, ``audit.*`` in the configuration."""

from __future__ import annotations

from dataclasses import dataclass

from asl.config.setting import setting


@dataclass(kw_only=True)
class AuditSettings:
    """What is looked for in the finished data set."""

    leakage: str = setting(
        "report",
        "train clips that are also in val or test: report, or drop them from the manifest",
        choices=["report", "drop_train"],
    )
    min_per_class: int = setting(5, "classes with fewer training clips are reported", ge=0)
