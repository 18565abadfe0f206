"""The thumbnails that the page embeds: first, middle and last frame of a clip, side by side in one JPEG."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from asl.codecs.decoder import decode_pictures
from asl.contract.manifest import Clip
from asl.contract.paths import Paths
from asl.datasets.instance import Instance
from asl.files import atomic_write
from asl.page.addresses import jpeg_uri
from asl.preprocess.clips.thumbnails import SIDE, frames_to_show, to_jpeg
from asl.preprocess.report.html.selection import Selection, select_clips
from asl.preprocess.run_result import RunResult
from asl.workers import Done, Workers


@dataclass(frozen=True)
class Thumbnails:
    """Three frames of a clip in one JPEG."""

    jpeg: bytes
    width: int  # pixels
    height: int  # pixels

    @property
    def uri(self) -> str:
        """The JPEG as a ``data:`` URI."""
        return jpeg_uri(self.jpeg)


@dataclass(frozen=True, kw_only=True)
class ShownClips:
    """The clips that the page shows, their files and their thumbnails."""

    selection: Selection
    files: Mapping[str, Path]  # by video_id; instances without a clip are left out
    thumbnails: Mapping[str, Thumbnails | str]  # by video_id; a text says why there are none


@dataclass(frozen=True)
class ClipFile:
    """A clip whose thumbnails are to be made."""

    video_id: str
    path: Path
    num_frames: int


def collect_shown_clips(result: RunResult, paths: Paths, workers: Workers) -> ShownClips:
    """Select the clips to show and read their thumbnails. Thumbnails that are gone are made again."""
    proofs = result.cut_results.proofs
    selection = select_clips(
        result.clips,
        result.audit.pairs,
        result.statistics.suspects.keys(),
        proofs.keys(),
        seed=result.config.seed,
    )
    has_clip = [one for one in result.metadata.instances if one.video_id in proofs]
    files = clip_files(selection.video_ids, result.clips, has_clip, result.metadata.folders, paths)
    thumbnails = {video_id: _read(paths.thumbnails(video_id)) for video_id in sorted(files)}
    gone = [
        ClipFile(video_id, files[video_id], proofs[video_id].num_frames)
        for video_id, found in thumbnails.items()
        if isinstance(found, str)
    ]
    for ended in workers.run_each(make_thumbnails, gone, timeout_s=result.config.trim.timeout_s):
        video_id = ended.task.video_id
        if isinstance(ended, Done):
            with atomic_write(paths.thumbnails(video_id)) as file:
                file.write(ended.result)
            thumbnails[video_id] = _read(paths.thumbnails(video_id))
        else:
            thumbnails[video_id] = ended.message
    return ShownClips(selection=selection, files=files, thumbnails=thumbnails)


def clip_files(
    video_ids: set[str],
    clips: Iterable[Clip],
    has_clip: Iterable[Instance],
    folders: Mapping[str, str],
    paths: Paths,
) -> dict[str, Path]:
    """The files of clips, by video_id.

    Args:
        video_ids: the clips that are wanted.
        clips: the manifest's rows.
        has_clip: all instances with a clip, also those that the audit dropped from the manifest.
        folders: the name of each gloss's folder.
        paths: the folders of the run.
    """
    files = {clip.video_id: Path(paths.data_dir) / clip.path for clip in clips if clip.video_id in video_ids}
    for instance in has_clip:
        if instance.video_id in video_ids and instance.video_id not in files:
            files[instance.video_id] = paths.clip(instance.split, folders[instance.gloss], instance.video_id)
    return files


def make_thumbnails(clip: ClipFile) -> bytes:
    """The thumbnails of a clip as a JPEG. Run it in a worker: decoding may hang or crash.

    Raises:
        VideoError: a frame up to the last one cannot be decoded, or the clip has fewer frames.
    """
    return to_jpeg(decode_pictures(clip.path, frames_to_show(clip.num_frames), side=SIDE))


def _read(path: Path) -> Thumbnails | str:
    """The thumbnails in a file, or why they cannot be read."""
    try:
        jpeg = path.read_bytes()
        width, height = Image.open(io.BytesIO(jpeg)).size
    except OSError as error:
        return str(error)
    return Thumbnails(jpeg, width, height)
