"""Settings of a run that does a part of the work, ``shard.*`` in the configuration."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from asl.config.setting import setting


@dataclass(kw_only=True)
class ShardSettings:
    """One of several runs, on any machines, that cut the clips of a data set together."""

    index: int | None = setting(None, "cut the share of this shard, from 0 to shard.count - 1", ge=0)
    count: int | None = setting(None, "number of shards; merge=true finds it by itself", ge=1)

    def problems(self) -> Iterator[str]:
        """Contradictions between keys."""
        if self.index is not None and self.count is None:
            yield f"shard.index={self.index}: needs shard.count, the number of shards"
        elif self.index is not None and self.count is not None and self.index >= self.count:
            yield f"shard.index={self.index}: shards are counted from 0, so the last is {self.count - 1}"
