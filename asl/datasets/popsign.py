"""PopSign (Starner et al., 2023): 250 American signs by 47 signers, ``{split}/{sign}/*.mp4``.

The glosses are the names of the folders: English prompts. The signer's number in a file's name, 4 in
``a.4-b.mp4``, is read as in somebody else's code. The splits have no signer in common, so if a number is in
two splits it does not name a signer; then all are unknown, and a note of the run says so.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass

from asl.datasets.folder import Folder
from asl.datasets.instance import Metadata

_SIGNER = re.compile(r"\.(\d+)-")


@dataclass(kw_only=True)
class PopSign(Folder):
    """The unpacked archives of the signs, in the folders train, val and test of ``dataset.root``."""

    def load(self) -> Metadata:
        """Find the videos and the numbers of their signers. Glosses are sorted.

        Raises:
            MetadataError: see :meth:`Folder.load`.
        """
        metadata = super().load()
        signer_of = {one.video_id: _signer(one.path) for one in metadata.instances}
        named = {
            (signer_of[one.video_id], one.split) for one in metadata.instances if signer_of[one.video_id]
        }
        if len({signer for signer, _ in named}) < len(named):
            note = "PopSign: signers are unknown: numbers in the names of files are in two splits"
            return dataclasses.replace(metadata, notes=(*metadata.notes, note))
        instances = (
            dataclasses.replace(one, signer_id=signer_of[one.video_id]) for one in metadata.instances
        )
        return dataclasses.replace(metadata, instances=tuple(instances))


def _signer(path: str) -> str:
    found = _SIGNER.search(path.rpartition("/")[2])
    return found[1] if found else ""
