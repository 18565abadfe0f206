"""The plan of a demo: rows of metadata and the raw files they refer to, before any is rendered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from urllib.parse import quote

import numpy as np

from asl.demo.glosses import GLOSSES, Gloss
from asl.demo.raw_files import Format, RawFile, frame_times
from asl.demo.signer import Performance, bounding_box, make_performance, make_signer

#: Rate at which the metadata counts frames, whatever the rate of the files.
FPS = 25

#: Signers by split. Some signers of val and test are in train, too, others are not.
SIGNERS = {"train": range(0, 32), "val": range(28, 36), "test": [*range(24, 28), *range(36, 40)]}

_SITES = ("handshapes", "motiondict", "signlab", "openhands")
_ID_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_SHORTEST, _LONGEST, _USUAL = 27, 148, 60  # frames a clip


@dataclass(frozen=True)
class Row:
    """An instance of the metadata, and the expected result of preprocessing it."""

    video_id: str
    gloss: Gloss
    split: str
    signer_id: int
    site: str
    url: str
    bbox: tuple[int, ...]
    frame_start: int  # at 25 fps, from 1
    frame_end: int  # inclusive; -1: to the end
    duration_s: float  # of the clip, as published
    raw: str | None  # its file in the raw folder; None if that is missing
    outcome: str = "clip"  # or why it has none: missing, ambiguous, damaged, past_end
    note: str = ""  # what is special about it


class Planner:
    """Collects rows and raw files. All random numbers come from one generator, in a fixed order."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rng = np.random.default_rng([seed, 4])
        self.rows: list[Row] = []
        self.files: dict[str, RawFile] = {}
        self._num_ids = 0

    def new_video_id(self) -> str:
        """Five digits, some with leading zeros, as in WLASL."""
        self._num_ids += 1
        return f"{397 + 71 * self._num_ids:05d}"

    def new_youtube_id(self) -> str:
        """Eleven letters; ids are case-sensitive."""
        return "".join(self.rng.choice(list(_ID_LETTERS), 11))

    def youtube_url(self, youtube_id: str) -> str:
        """The URL in one of the two forms that occur in WLASL."""
        if self.rng.random() < 0.2:
            return f"https://youtu.be/{youtube_id}"
        return f"https://www.youtube.com/watch?v={youtube_id}"

    def random_length(self) -> int:
        """A number of frames at 25 fps; more than half of the clips are shorter than a window of 63."""
        return int(np.clip(self.rng.lognormal(np.log(_USUAL), 0.4), _SHORTEST, _LONGEST))

    def random_performance(self, gloss: Gloss, start_s: float, duration_s: float) -> Performance:
        """The gloss at a random pace and time within ``[start_s, start_s + duration_s)``."""
        signed_s = min(duration_s * self.rng.uniform(0.8, 1.0), self.rng.uniform(2.2, 3.6))
        return make_performance(
            gloss, start_s + self.rng.uniform(0, duration_s - signed_s), signed_s, self.rng
        )

    def add(self, row: Row) -> Row:
        """Append a row and return it."""
        self.rows.append(row)
        return row

    def add_whole(
        self,
        gloss: Gloss,
        split: str = "train",
        *,
        form: Format,
        named: str = "video_id",
        url: str | None = None,
        path: str | None = None,
        signer_id: int | None = None,
        signed: tuple[Performance, float] | None = None,
        frame_start: int = 1,
        damage: str | None = None,
        outcome: str = "clip",
        note: str = "",
    ) -> Row:
        """Add a row whose clip is its whole file, and that file unless ``outcome`` is ``missing``.

        Args:
            gloss: the gloss that is signed.
            split: train, val or test.
            form: format of the file.
            named: what the file is named after: ``video_id``, ``youtube`` (its id), or its URL name as
                ``decoded``, ``encoded`` or ``other case``.
            url: replaces the URL that ``named`` gives.
            path: replaces the path that ``named`` gives, relative to the raw folder.
            signer_id: the signer; None: a random one of ``split``.
            signed: the performance of ``gloss`` and the duration of the file; None: random ones.
            frame_start: as in the metadata.
            damage: see :class:`~asl.demo.raw_files.RawFile`.
            outcome: expected result, see :class:`Row`.
            note: what is special about the row.
        """
        video_id = self.new_video_id()
        site = _SITES[self.rng.integers(len(_SITES))]
        if signer_id is None:
            signer_id = int(self.rng.choice(list(SIGNERS[split])))
        if named == "youtube":
            youtube_id = self.new_youtube_id()
            usual_url, usual_path = self.youtube_url(youtube_id), f"youtube/{youtube_id}{form.suffix}"
        else:
            name = f"{gloss.name.title()} {video_id}{form.suffix}"
            usual_url = f"http://{site}.example/media/{quote(name)}"
            usual_path = {
                "video_id": f"{video_id}{form.suffix}",
                "decoded": f"{site}/{name}",
                "encoded": f"{site}/{quote(name)}",
                "other case": f"{site}/{name.lower()}",
            }[named]
        if signed is None:
            duration_s = self.random_length() / FPS
            performance = self.random_performance(gloss, 0.0, duration_s)
        else:
            performance, duration_s = signed
        file = RawFile(
            path or usual_path,
            form,
            make_signer(signer_id, self.seed),
            (performance,),
            duration_s,
            damage,
            seed=int(self.rng.integers(2**31)),
        )
        if outcome != "missing":
            self.files[file.path] = file
        return self.add(
            Row(
                video_id=video_id,
                gloss=gloss,
                split=split,
                signer_id=signer_id,
                site=site,
                url=url or usual_url,
                bbox=bounding_box(file.signer, *form.size),
                frame_start=frame_start,
                frame_end=-1,
                duration_s=_duration_s(file) - (frame_start - 1) / FPS,
                raw=file.path if outcome != "missing" else None,
                outcome=outcome,
                note=note,
            )
        )

    def add_shared_source(
        self, form: Format, splits: Sequence[str], *, pauses: bool, note: str
    ) -> tuple[RawFile, str]:
        """Add a long YouTube video of one signer with a segment of every gloss, and their rows.

        Args:
            form: format of the file.
            splits: of the segments in order, one for each gloss.
            pauses: leave pauses between segments; otherwise they tile the file.
            note: what is special about the rows.

        Returns:
            The file and its YouTube id.
        """
        youtube_id, signer_id = self.new_youtube_id(), int(self.rng.integers(24, 32))
        path = f"youtube/{youtube_id}{form.suffix}"
        signer = make_signer(signer_id, self.seed)
        performances, end = [], 0
        for gloss, split in zip(self.rng.permutation(len(GLOSSES)), splits, strict=True):
            start = end + (int(self.rng.integers(20, 90)) if pauses else 0)
            end = start + self.random_length()
            performances.append(self.random_performance(GLOSSES[gloss], start / FPS, (end - start) / FPS))
            self.add(
                Row(
                    video_id=self.new_video_id(),
                    gloss=GLOSSES[gloss],
                    split=split,
                    signer_id=signer_id,
                    site="openhands",
                    url=self.youtube_url(youtube_id),
                    bbox=bounding_box(signer, *form.size),
                    frame_start=start + 1,
                    frame_end=end,
                    duration_s=(end - start) / FPS,
                    raw=path,
                    note=note,
                )
            )
        seed = int(self.rng.integers(2**31))
        file = RawFile(path, form, signer, tuple(performances), end / FPS + 0.5 * pauses, seed=seed)
        self.files[path] = file
        return file, youtube_id

    def add_variant(self, row: Row, **changes: object) -> Row:
        """Add a copy of ``row`` under a new video_id, with these fields changed."""
        return self.add(replace(row, video_id=self.new_video_id(), **changes))  # type: ignore[arg-type]

    def fill(self, split: str, per_gloss: int) -> None:
        """Add ordinary clips until every gloss has ``per_gloss`` of them in ``split``."""
        present = Counter(row.gloss for row in self.rows if (row.split, row.outcome) == (split, "clip"))
        missing = [gloss for gloss in GLOSSES for _ in range(per_gloss - present[gloss])]
        for i in self.rng.permutation(len(missing)):
            form, named = self._random_format()
            self.add_whole(missing[i], split, form=form, named=named)

    def _random_format(self) -> tuple[Format, str]:
        """A format and what its file is named after. Frame rates are about as frequent as in WLASL."""
        rng = self.rng
        fps = (Fraction(30000, 1001), Fraction(30), Fraction(24000, 1001), Fraction(25), None)[
            rng.choice(5, p=[0.42, 0.19, 0.17, 0.15, 0.07])
        ]
        size = ((144, 108), (160, 120), (128, 96))[rng.integers(3)]
        names = ("video_id", "youtube", "decoded", "encoded", "other case")
        named = names[rng.choice(5, p=[0.6, 0.15, 0.1, 0.1, 0.05])]
        suffix, codec = ".mp4", "libx264"
        if named == "youtube":
            i = rng.choice(3, p=[0.6, 0.25, 0.15])
            suffix, codec = ((".mp4", "libx264"), (".mkv", "libx264"), (".webm", "libvpx-vp9"))[i]
        return Format(suffix, codec, fps=fps, size=size), named


def _duration_s(file: RawFile) -> float:
    """Duration of a file; the last frame is shown as long as the one before it."""
    times = frame_times(file)
    return float(2 * times[-1] - times[-2])
