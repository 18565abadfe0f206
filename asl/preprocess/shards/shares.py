"""Which shard cuts the clips of which source.

All clips of a source belong to one shard. A source that has one keeps it: when files are added, only these
are shared out. Each time, a file ``sources.N.json`` is added to the folder of the shards; the files are never
changed, so that all machines read the same.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from asl.errors import UserError
from asl.files import write_new
from asl.preprocess.clips.plan import Cut


def cuts_of_shards(cuts: Iterable[Cut], folder: Path, count: int, *, raw_dir: Path) -> list[list[Cut]]:
    """The cuts of each shard, in their order.

    Args:
        cuts: of the whole data set.
        folder: of the shards, see :meth:`Paths.shards`.
        count: number of shards.
        raw_dir: the raw folder.

    Raises:
        UserError: a file of the folder is damaged.
    """
    of_source: dict[Path, list[Cut]] = {}
    for cut in cuts:
        of_source.setdefault(cut.source, []).append(cut)
    names = {source: source.relative_to(raw_dir).as_posix() for source in of_source}
    work_ms = {names[source]: round(sum(map(Cut.estimated_ms, some))) for source, some in of_source.items()}
    shard_of = shard_of_sources(folder, count, work_ms)
    shares: list[list[Cut]] = [[] for _ in range(count)]
    for source, some in of_source.items():
        shares[shard_of[names[source]]] += some
    return shares


def share_out(work_ms: Mapping[str, int], loads_ms: Sequence[int]) -> list[list[str]]:
    """Sources for each shard so that all have about the same work: the largest first, to the least loaded.

    Args:
        work_ms: by source.
        loads_ms: what each shard has already.

    >>> share_out({"a": 5, "b": 3, "c": 3, "d": 1}, [0, 0])
    [['a', 'd'], ['b', 'c']]
    """
    shares: list[list[str]] = [[] for _ in loads_ms]
    least = [(load, shard) for shard, load in enumerate(loads_ms)]
    heapq.heapify(least)
    for source in sorted(work_ms, key=lambda source: (-work_ms[source], source)):
        load, shard = least[0]
        shares[shard].append(source)
        heapq.heapreplace(least, (load + work_ms[source], shard))
    return shares


def shard_of_sources(folder: Path, count: int, work_ms: Mapping[str, int]) -> dict[str, int]:
    """The shard of each source, also of sources of earlier runs. Those that have none are shared out.

    Args:
        folder: of the shards.
        count: number of shards.
        work_ms: estimated milliseconds on one core by source.

    Raises:
        UserError: a file of the folder is damaged.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shard_of: dict[str, int] = {}
    loads_ms, number = [0] * count, 0
    while True:
        path = folder / f"sources.{number}.json"
        if not path.exists():
            new = {source: work_ms[source] for source in work_ms.keys() - shard_of.keys()}
            if not new:
                return shard_of
            shares = share_out(new, loads_ms)
            added_ms = [sum(new[source] for source in share) for share in shares]
            # If another machine is the first to write it, that one counts.
            write_new(path, json.dumps({"work_ms": added_ms, "sources": shares}))
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            added = list(zip(content["work_ms"], content["sources"], range(count), strict=True))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{path} cannot be read ({error}), but it says which shard cuts which source. Remove "
                f"{folder} and start all shards again; they do not cut again what is cut"
            ) from None
        for load_ms, sources, shard in added:
            loads_ms[shard] += load_ms
            shard_of |= dict.fromkeys(sources, shard)
        number += 1
