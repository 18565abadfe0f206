"""The rows and files that every demo has: an example of each irregularity of real downloads."""

from __future__ import annotations

from fractions import Fraction
from itertools import cycle

from asl.demo.glosses import GLOSSES, Gloss
from asl.demo.plan import FPS, Planner
from asl.demo.raw_files import Format
from asl.demo.signer import Performance

_NTSC, _FILM = Fraction(30000, 1001), Fraction(24000, 1001)


def add_formats(plan: Planner) -> None:
    """Add whole clips in every container, codec, frame rate and orientation."""
    gloss = cycle(GLOSSES)
    for note, named, form in (
        ("29.97 fps", "video_id", Format()),
        ("23.976 fps, with sound", "video_id", Format(fps=_FILM, audio="aac")),
        ("25 fps", "video_id", Format(fps=Fraction(25))),
        ("30 fps, with sound", "youtube", Format(fps=Fraction(30), audio="aac")),
        ("variable rate", "video_id", Format(fps=None)),
        ("variable rate, Matroska", "youtube", Format(".mkv", fps=None)),
        ("Matroska", "youtube", Format(".mkv", fps=_FILM)),
        ("QuickTime", "decoded", Format(".mov")),
        ("turned by 90", "video_id", Format(rotation=90)),
        ("turned by 270, QuickTime", "encoded", Format(".mov", rotation=270, size=(160, 120))),
        ("turned by 180", "video_id", Format(rotation=180)),
        ("VP9, odd size, with sound", "youtube", _webm(Fraction(30), (131, 97), "libopus")),
        ("VP9, variable rate", "youtube", _webm(None, (144, 108))),
        ("MPEG-4 part 2, odd size", "decoded", Format(".avi", "mpeg4", fps=Fraction(25), size=(129, 97))),
        ("MPEG-4 part 2 in MP4", "video_id", Format(codec="mpeg4")),
        ("H.264 without colour subsampling, odd size", "video_id", Format(pix_fmt="yuv444p", size=(133, 99))),
        ("named by its URL, decoded", "decoded", Format()),
        ("named by its URL, percent-encoded", "encoded", Format()),
        ("named by its URL, in another case", "other case", Format()),
    ):
        plan.add_whole(next(gloss), form=form, named=named, note=note)


def add_shared_sources(plan: Planner, more: int) -> None:
    """Add long videos with a segment of every gloss: four kinds, and ``more`` ordinary ones."""
    mixed = ["train"] * 5 + ["val"] * 2 + ["test"]
    plan.add_shared_source(
        Format(fps=Fraction(25)), mixed, pauses=False, note="tiles its source, which splits share"
    )
    train = ["train"] * len(GLOSSES)
    for form in (
        Format(".mkv", fps=_NTSC, size=(160, 120)),
        _webm(_FILM, (128, 96)),
        Format(fps=None),
        *[Format(fps=_NTSC)] * more,
    ):
        file, youtube_id = plan.add_shared_source(form, train, pauses=True, note="segment of a shared source")
    last = plan.rows[-1]
    length = round(file.duration_s * FPS)
    for note, start, end in (
        ("ends after its source", length - 20, length + 30),
        ("starts after its source", length + 50, length + 99),
    ):
        plan.add_variant(
            last, frame_start=start, frame_end=end, duration_s=2.0, outcome="past_end", note=note
        )
    # An id that differs in case alone is another video.
    plan.add_variant(
        last,
        url=f"https://www.youtube.com/watch?v={youtube_id.swapcase()}",
        frame_start=1,
        frame_end=50,
        raw=None,
        outcome="missing",
        note="id of an existing file in another case",
    )


def add_rows_without_clip(plan: Planner) -> None:
    """Add rows that can have no clip: the file is missing, damaged, or possibly another video."""
    gloss = cycle(GLOSSES)
    for damage, note in (
        ("bytes", "noise in the middle"),
        ("cut off", "download broken off"),
        ("web page", "the site's apology, saved as a video"),
    ):
        plan.add_whole(next(gloss), form=Format(), outcome="damaged", damage=damage, note=note)
    for url, note in (
        (f"https://www.youtube.com/watch?v={plan.new_youtube_id()}", "video taken down"),
        ("http://signlab.example/main/c/circle.swf", "Flash"),
        ("http://signlab.example/media/Never%20Downloaded.mp4", "not downloaded"),
    ):
        plan.add_whole(next(gloss), form=Format(), url=url, outcome="missing", note=note)

    # Two sites, one name, one file. The published length decides for the first one ...
    owner = plan.add_whole(
        next(gloss),
        form=Format(),
        url="http://signlab.example/media/hello.mp4",
        path="downloads/hello.mp4",
        note="shares its name, its length tells",
    )
    plan.add_variant(
        owner,
        gloss=next(gloss),
        site="handshapes",
        url="http://handshapes.example/words/hello.mp4",
        duration_s=owner.duration_s + 1.2,
        raw=None,
        outcome="missing",
        note="the file of its name has another length",
    )
    # ... and here nothing decides.
    unclear = plan.add_whole(
        next(gloss),
        form=Format(),
        url="http://motiondict.example/t/Thank%20You.mp4",
        path="downloads/thank%20you.mp4",
        outcome="ambiguous",
        note="shares its name, nothing tells",
    )
    plan.add_variant(unclear, site="openhands", url="http://openhands.example/dictionary/Thank%20You.mp4")


def add_questionable_clips(plan: Planner) -> None:
    """Add rows that have a clip, but that a report should mention."""
    row = plan.add_whole(
        GLOSSES[0], form=Format(), named="youtube", note="the same video in train and in test"
    )
    plan.add_variant(row, split="test")
    row = plan.add_whole(GLOSSES[1], form=Format(), named="youtube", note="the same video under two glosses")
    plan.add_variant(row, gloss=GLOSSES[2])
    plan.add_whole(GLOSSES[3], form=Format(), frame_start=2, note="starts at frame 2, without an end")


def add_series(plan: Planner) -> None:
    """Add clips of one signer and wall, of one length and start: two signs, and a copy of one of them.

    In the frames of a fingerprint, the hand is at the same places in both signs.
    """
    signer_id, out, swing = 28, Gloss("right", "circle out"), Gloss("right", "swing in")
    for note, gloss, split, size in (
        ("series of one signer", out, "train", (176, 128)),
        ("series of one signer, another sign", swing, "val", (176, 128)),
        ("series of one signer, the sign in val at half the size", swing, "train", (88, 64)),
    ):
        performance = Performance(
            gloss, 0.5, 1.3, centre=(0.0, 0.0), radius=0.2, unevenness=0.0, unevenness_phase=0.0
        )
        plan.add_whole(
            gloss,
            split,
            form=Format(fps=Fraction(25), size=size),
            signer_id=signer_id,
            signed=(performance, 81 / 25),
            note=note,
        )


def _webm(fps: Fraction | None, size: tuple[int, int], audio: str | None = None) -> Format:
    return Format(".webm", "libvpx-vp9", fps=fps, size=size, audio=audio)
