"""LSA64 (Ronchetti et al., 2016): 64 Argentinian signs, each 5 times by 10 signers, a file for each sign.

All is in the names of the files, ``{sign}_{signer}_{repetition}.mp4``. The authors give no split; the one
here is that of OpenHands: signers 1 to 8, 9 and 10. Others report random splits, in which signers are
shared.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from asl.config.setting import setting
from asl.datasets.base import SignDataset
from asl.datasets.instance import Instance, Metadata, MetadataError
from asl.datasets.names import distinct_glosses
from asl.datasets.reading import list_videos, make_instances, read_table

NUM_SIGNS = 64
NUM_SIGNERS = 10
_NAME = re.compile(r"(\d{3})_(\d{3})_(\d{3})", re.ASCII)


@dataclass(kw_only=True)
class Lsa64(SignDataset):
    """The videos in any folder below ``dataset.root``, and which signers are held out."""

    signs: str | None = setting(
        "???", "lsa64_signs.md, with lines as 01|Opaque|R|; null: the glosses are the numbers of the signs"
    )
    val_signers: list[int] = setting(
        [9], "signers of val; none: a part of train", any_length=True, ge=1, le=NUM_SIGNERS
    )
    test_signers: list[int] = setting([10], "signers of test", any_length=True, ge=1, le=NUM_SIGNERS)

    def problems(self) -> Iterator[str]:
        """Yield a message if a signer is in two splits."""
        yield from super().problems()
        if both := set(self.val_signers) & set(self.test_signers):
            yield f"dataset.val_signers and dataset.test_signers: {sorted(both)} cannot be in both"

    def load(self) -> Metadata:
        """Find the videos. Labels are the authors' numbers of the signs, less one.

        Raises:
            MetadataError: there are no videos, or the table of signs is missing or cannot be used.
        """
        gloss_of = self._glosses()
        rows = [(path, path) for path in list_videos(Path(self.root), how_to_get=self.how_to_get)]
        instances, refused = make_instances(rows, lambda path: self._instance(path, gloss_of))
        return Metadata(tuple(instances), tuple(gloss_of.values()), tuple(refused))

    def _glosses(self) -> dict[int, str]:
        numbers = range(1, NUM_SIGNS + 1)
        if self.signs is None:
            return {number: f"{number:03}" for number in numbers}
        rows = read_table(
            Path(self.signs),
            columns=("number", "name", "hands"),
            key="dataset.signs",
            how_to_get=self.how_to_get,
            delimiter="|",
            header=False,
        )
        names = {
            int(row["number"]): row["name"] for _, row in rows if row["number"].isdecimal() and row["name"]
        }
        if missing := [number for number in numbers if number not in names]:
            raise MetadataError(
                f"{self.signs} (dataset.signs) has no line as 01|Opaque|R| for sign {missing[0]}"
            )
        return distinct_glosses({number: names[number] for number in numbers})

    def _instance(self, path: str, gloss_of: Mapping[int, str]) -> Instance:
        stem = PurePosixPath(path).stem
        found = _NAME.fullmatch(stem)
        if found is None:
            raise ValueError("its name is not of the form 001_001_001, sign, signer and repetition")
        sign, signer = int(found[1]), int(found[2])
        if sign not in gloss_of or not 1 <= signer <= NUM_SIGNERS:
            raise ValueError(f"LSA64 has {NUM_SIGNS} signs and {NUM_SIGNERS} signers")
        in_val, in_test = signer in self.val_signers, signer in self.test_signers
        return Instance(
            video_id=stem,
            gloss=gloss_of[sign],
            split="val" if in_val else "test" if in_test else "train",
            path=path,
            signer_id=str(signer),
        )
