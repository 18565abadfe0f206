"""The manifest's rows from the proofs of a run, and files that belong to no row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from asl.contract.manifest import MANIFEST, SPLITS, Clip, ManifestError, read_manifest
from asl.contract.paths import Paths
from asl.datasets.instance import Instance
from asl.preprocess.clips.proof import Proof
from asl.preprocess.sources.matching import Match, Unmatched, signer_box
from asl.preprocess.sources.raw_files import RawVideo


def manifest_rows(
    instances: Iterable[Instance],
    matches: Mapping[str, Match | Unmatched],
    proofs: Mapping[str, Proof],
    label_of: Mapping[str, int],
    paths: Paths,
    *,
    dataset: str,
    folders: Mapping[str, str],
    raw_videos: Mapping[str, RawVideo],
) -> list[Clip]:
    """A row for each instance whose clip was proven in this run, by split, label and video_id.

    Args:
        instances: of the data set.
        matches: their sources, by video_id.
        proofs: of their clips, by video_id.
        label_of: the label map, by gloss.
        paths: where the clips lie.
        dataset: its name.
        folders: the name of each gloss's folder.
        raw_videos: picture sizes of the sources, by file.
    """
    relative = _RelativeTo(Path(paths.data_dir))  # paths.videos_dir may be elsewhere
    clips = []
    for instance in sorted(
        instances, key=lambda one: (SPLITS.index(one.split), label_of[one.gloss], one.video_id)
    ):
        proof, found = proofs.get(instance.video_id), matches[instance.video_id]
        if proof is None or isinstance(found, Unmatched):
            continue
        path = paths.clip(instance.split, folders[instance.gloss], instance.video_id)
        clips.append(
            Clip(
                split=instance.split,
                gloss=instance.gloss,
                label=label_of[instance.gloss],
                video_id=instance.video_id,
                path=relative(path),
                num_frames=proof.num_frames,
                fps=round(proof.fps, 6),
                duration_s=round(proof.duration_s, 6),
                width=proof.width,
                height=proof.height,
                signer_id=instance.signer_id,
                source=found.source,
                start_s=round(proof.start_s, 6),
                end_s=round(proof.end_s, 6),
                match=found.rule,
                dataset=dataset,
                box=" ".join(
                    f"{edge:g}" for edge in signer_box(instance, found, raw_videos.get(found.source)) or ()
                ),
            )
        )
    return clips


def stale_files(
    paths: Paths, files: Iterable[str], targets: Iterable[Path], *, dataset: str
) -> Sequence[str]:
    """The files in the clips' folder that are none of ``targets`` and no clip of another data set, sorted.

    Args:
        paths: the folders; the manifests of other data sets are in ``paths.metadata_dir``.
        files: in ``paths.videos_dir``, relative to it, before clips were cut.
        targets: the clips of this run.
        dataset: name of the data set of this run.

    Returns:
        Paths relative to ``paths.videos_dir``.
    """
    relative = _RelativeTo(Path(paths.videos_dir))
    owned = set(map(relative, targets))
    for manifest in set(Path(paths.metadata_dir).glob(f"*{MANIFEST}")) - {paths.manifest(dataset)}:
        with suppress(ManifestError):  # it is damaged, so nobody knows its clips
            owned |= {relative(Path(paths.data_dir) / clip.path) for clip in read_manifest(manifest)}
    return sorted(set(files) - owned)


class _RelativeTo:
    """Paths of files relative to a folder, or absolute if they lie elsewhere. Resolves each folder once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        self._folders: dict[Path, Path] = {}

    def __call__(self, path: Path) -> str:
        folder = self._folders.get(path.parent)
        if folder is None:
            folder = path.parent.resolve()
            if folder.is_relative_to(self._folder):
                folder = folder.relative_to(self._folder)
            self._folders[path.parent] = folder
        return (folder / path.name).as_posix()
