"""What a run is: its data, network and settings. Checkpoints hold it; it decides which run may be resumed."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from asl.config.setting import as_override, shell_override
from asl.contract.frame_store import SIGNER, FrameSpec
from asl.contract.manifest import SPLITS, Clip
from asl.data.framing import Framing
from asl.data.readers.base import ReaderSettings
from asl.data.sampling import Sampling
from asl.data.settings import ManifestSettings
from asl.data.split import OFFICIAL
from asl.messages import first_few
from asl.training.checkpoints import CheckpointError
from asl.training.config import TrainConfig

ClipKeys = dict[str, dict[str, str]]  # by split and video_id; in the order of the clips

_CHOICES = ("model", "loss")  # groups with the name of their choice beside its fields
#: Settings that checkpoints of earlier versions lack, with the value that has no effect.
_LATER_SETTINGS: dict[str, dict[str, Any]] = {
    "augment": dict.fromkeys(("shift", "drop", "blur", "noise", "blocks", "erase"), 0.0) | {"downscale": 1.0},
    "optim": {"scale_lr": "none", "freeze_epochs": 0, "ema_decay": None, "layer_decay": 1.0},
    "trainer": {
        "early_stopping": None,
        "patience": None,
        "sync_batchnorm": False,
        "compress_gradients": "none",
    },
}
_INPUT_SETTINGS = ("reader", "frames")  # of ``settings``: they decide the frames of a clip, in evaluation too


def checkpoint_info(
    config: TrainConfig, *, glosses: Sequence[str], clips: Sequence[Clip], devices: int, precision: str
) -> dict[str, Any]:
    """The value of a checkpoint's key ``asl``, without epoch and metrics.

    Beside what is needed to use the network (see :func:`~asl.training.checkpoints.read_checkpoint`), it has
    ``dataset``, ``manifest``, ``split``, ``clips`` and ``digest`` (see :func:`clip_keys`), ``boxes`` (with
    ``data.crop=signer``, see :func:`boxes_digest`), ``seed``,
    ``median_duration_s`` of the training clips, and in ``settings`` the other settings that decide the
    result.

    Args:
        config: configuration of the run.
        glosses: by label.
        clips: the clips that are used, of all splits.
        devices: number of devices of all machines.
        precision: the resolved ``trainer.precision``.
    """
    data, trainer = config.data, config.trainer
    keys = clip_keys(clips)
    return {
        "dataset": "+".join(data.dataset_names(config.dataset.name)),
        "manifest": data.manifest,
        "split": data.split_name,
        "clips": keys,
        "digest": clips_digest(keys),
        "glosses": list(glosses),
        "network": f"{type(config.model).__module__}.{type(config.model).__qualname__}",
        "model": {"name": config.model.name, **config.model.architecture()},
        "sampling": {field.name: getattr(data, field.name) for field in dataclasses.fields(Sampling)},
        **dataclasses.asdict(Framing.of(vars(data))),
        **({"boxes": boxes_digest(clips)} if data.crop == SIGNER else {}),
        "median_duration_s": median(clip.duration_s for clip in clips if clip.split == "train"),
        "seed": config.seed,
        "settings": {
            "data": {"flags": data.flags, "balance": data.balance, "batch_size": data.batch_size},
            "reader": reader_name(config.reader),
            "frames": frames_info(config.frames),
            "augment": dataclasses.asdict(config.augment),
            "loss": {"name": config.loss.name, **dataclasses.asdict(config.loss)},
            "optim": {
                "lr": config.optim.lr,
                "scale_lr": config.optim.scale_lr,
                "weight_decay": config.optim.weight_decay,
                "warmup_epochs": config.optim.warmup_epochs,
                "freeze_epochs": config.optim.freeze_epochs,
                "ema_decay": config.optim.ema_decay,
                "layer_decay": config.optim.layer_decay,
            },
            "trainer": {
                "max_epochs": trainer.max_epochs,
                "devices": devices,
                "sync_batchnorm": trainer.sync_batchnorm,
                "compress_gradients": trainer.compress_gradients,
                "precision": precision,
                "accumulate_grad_batches": trainer.accumulate_grad_batches,
                "gradient_clip_val": trainer.gradient_clip_val,
                "early_stopping": trainer.early_stopping,
                "patience": trainer.patience if trainer.early_stopping else None,
            },
        },
        "mean": list(config.model.mean),
        "std": list(config.model.std),
    }


def trained_on_several(info: Mapping[str, Any]) -> bool:
    """Whether a checkpoint was trained on several manifests."""
    return isinstance(info.get("manifest"), list)  # not in checkpoints of the first version


def dataset_names(info: Mapping[str, Any]) -> list[str]:
    """The names of the data sets that a checkpoint was trained on."""
    if not trained_on_several(info):
        return [info["dataset"]]
    return ManifestSettings(manifest=info["manifest"]).dataset_names(info["dataset"])


def reader_name(reader: ReaderSettings) -> str:
    """The class of a reader's settings, by which checkpoints name it."""
    return f"{type(reader).__module__}.{type(reader).__qualname__}"


def frames_info(frames: FrameSpec) -> dict[str, Any]:
    """The settings that decide which frames are stored, as checkpoints hold them."""
    return {field.name: getattr(frames, field.name) for field in dataclasses.fields(FrameSpec)}


def stored_frames(info: Mapping[str, Any]) -> dict[str, Any]:
    """The result of :func:`frames_info` in a checkpoint. Those of earlier versions have the defaults."""
    return frames_info(FrameSpec(**info.get("settings", {}).get("frames", {})))


def clip_keys(clips: Sequence[Clip]) -> ClipKeys:
    """For each split ``{video_id: key}``. The key changes with the clip's label, source and segment.

    It does not depend on folders: data that were moved, or cut again, are the same clips. Only where the data
    set names its sources by path, as ``hello/1.mp4``, their folders tell them apart.
    """
    keys: ClipKeys = {split: {} for split in SPLITS}
    for clip in clips:
        keys[clip.split][clip.video_id] = clip_key(clip, clip.label)
    return keys


def clip_key(clip: Clip, label: int) -> str:
    """The key of a clip in a data set in which its label is ``label``."""
    source = clip.source if clip.match == "path" else Path(clip.source).name
    segment = (source, f"{clip.start_s:.3f}", f"{clip.end_s:.3f}", label)
    return _digest(segment, num_bytes=6)


def clips_digest(keys: ClipKeys) -> str:
    """One hash of the clips of all splits, whatever their order."""
    return _digest({split: sorted(of_split.items()) for split, of_split in keys.items()}, num_bytes=10)


def boxes_digest(clips: Sequence[Clip]) -> str:
    """One hash of the boxes of the signers, whatever the order of the clips."""
    return _digest(sorted((clip.video_id, clip.box) for clip in clips), num_bytes=10)


def _digest(value: Any, *, num_bytes: int) -> str:
    return hashlib.blake2b(json.dumps(value).encode(), digest_size=num_bytes).hexdigest()


def check_same_run(checkpoint: dict[str, Any], path: Path, info: dict[str, Any]) -> None:
    """Check that a run can be resumed from a checkpoint: same glosses, network, split, clips and input.

    The input is what evaluation sees of a clip. With another one, the best epoch so far and later ones, or
    val and test, would be measured on different frames.

    Args:
        checkpoint: the result of :func:`~asl.training.checkpoints.read_checkpoint`.
        path: its file, for messages.
        info: the result of :func:`checkpoint_info` for this run.

    Raises:
        CheckpointError: one of them differs. The message says how.
    """
    theirs, ours = checkpoint["asl"], info
    other_glosses = gloss_difference(theirs["glosses"], ours["glosses"])
    if other_glosses:
        trained_on = "the data set it was trained on"
        if trained_on_several(theirs):
            trained_on = f"{shell_override('data.manifest', theirs['manifest'])} and its data.labels"
        raise CheckpointError(
            f"{path} was trained with another label map: {other_glosses}. Resume with {trained_on}, or start "
            "a new run in another paths.checkpoint_dir (to start from its weights: "
            f"{shell_override('model.weights', path)})"
        )
    differing = difference({"model": theirs["model"]}, {"model": ours["model"]})
    if differing:
        raise CheckpointError(
            f"{path} holds another network: {', '.join(differing)}. Set these keys to the values there, or "
            "start a new run in another paths.checkpoint_dir"
        )
    split = theirs.get("split", OFFICIAL)  # not in checkpoints of the first version
    if split != ours["split"]:
        raise CheckpointError(
            f"{path} was trained on another split ({split} there, {ours['split']} now), so clips that it was "
            "trained on would be in val or test. Set protocol, data.split, data.folds, data.fold and "
            "data.fold_seed as they were, or start a new run in another paths.checkpoint_dir"
        )
    if "clips" in theirs:
        _check_same_clips(theirs, ours, path)
    by_layer = [_layer_decay(info) for info in (theirs, ours)]
    if (by_layer[0] < 1) != (by_layer[1] < 1):
        raise CheckpointError(
            f"{path} was trained with optim.layer_decay={by_layer[0]:g}, and it is {by_layer[1]:g} now: only "
            "below 1, the optimiser's state is by layer. Resume with the value there, or start a new run in "
            "another paths.checkpoint_dir (to start from its weights: "
            f"{shell_override('model.weights', path)})"
        )
    decays = [_ema_decay(info) for info in (theirs, ours)]
    if decays[0] is not None and decays[1] is None:
        raise CheckpointError(
            f"{path} holds averaged weights, which were measured on val (optim.ema_decay={decays[0]} there, "
            f"null now). Resume with optim.ema_decay={decays[0]}, or start a new run in another "
            f"paths.checkpoint_dir (to start from its averaged weights: model.weights={path})"
        )
    there, now = _evaluation_input(theirs), _evaluation_input(ours)
    differing = difference(there, {key: now[key] for key in there})
    if differing:
        raise CheckpointError(
            f"{path} was measured on val with another input: {', '.join(differing)}. Set these keys to the "
            "values there, or start a new run in another paths.checkpoint_dir (to start from its weights: "
            f"{shell_override('model.weights', path)})"
        )
    if theirs.get("boxes") != ours.get("boxes"):
        raise CheckpointError(
            f"{path} was measured on val with other boxes of the signers (data.crop=signer) than those of "
            f"{ours['manifest']} now. Resume with the manifest as it was, or start a new run in another "
            "paths.checkpoint_dir"
        )


def batch_size_of(checkpoint: dict[str, Any]) -> int | None:
    """``data.batch_size`` of a checkpoint. None in checkpoints of earlier versions."""
    batch_size: int | None = checkpoint["asl"].get("settings", {}).get("data", {}).get("batch_size")
    return batch_size


def _layer_decay(info: dict[str, Any]) -> float:
    decay: float = info.get("settings", {}).get("optim", {}).get("layer_decay", 1.0)
    return decay


def _ema_decay(info: dict[str, Any]) -> float | None:
    decay: float | None = info.get("settings", {}).get("optim", {}).get("ema_decay")
    return decay


def _evaluation_input(info: dict[str, Any]) -> dict[str, Any]:
    """The settings that decide what evaluation sees of a clip, as far as a checkpoint holds them."""
    settings = {key: value for key, value in info.get("settings", {}).items() if key in _INPUT_SETTINGS}
    if "reader" in settings:
        module, _, _ = settings["reader"].rpartition(".")
        if module.startswith("asl.data.readers."):  # named like the choice
            settings["reader"] = module.rpartition(".")[2]
    if "frames" in settings:
        settings["frames"] = stored_frames(info)
    return {
        "data": {**info["sampling"], **dataclasses.asdict(Framing.of(info))},
        **settings,
    }


def gloss_difference(theirs: Sequence[str], ours: Sequence[str]) -> str | None:
    """How the glosses of a checkpoint differ from those of the label map. None if they do not.

    In checkpoints of the first version, the gloss of a class without clips is empty.
    """
    for label, (then, now) in enumerate(itertools.zip_longest(theirs, ours, fillvalue="(none)")):
        if then != now and (then or now == "(none)"):
            return (
                f"{len(theirs)} glosses there, {len(ours)} in the label map now; label {label} is {then!r} "
                f"there, {now!r} now"
            )
    return None


def _check_same_clips(theirs: dict[str, Any], ours: dict[str, Any], path: Path) -> None:
    differing = clip_differences(theirs["clips"], ours["clips"])
    if not differing:
        return
    flags = [info["settings"]["data"]["flags"] for info in (theirs, ours)]
    keys = shell_override("data.manifest", theirs["manifest"])
    if theirs["manifest"] == ours["manifest"] and flags[0] == flags[1]:
        keys += " as it was"
    elif flags[0] != flags[1]:
        keys += f" data.flags={flags[0]}"
    raise CheckpointError(
        f"{path} was trained on other clips than those of {as_override(ours['manifest'])} now: "
        f"{'; '.join(differing)}. Resume with the clips that it was trained on ({keys}), or start a new run "
        "in another paths.checkpoint_dir"
    )


def clip_differences(theirs: ClipKeys, ours: ClipKeys) -> list[str]:
    """How the clips of two runs differ: ``["2 more in train (a, b)", "1 moved from train to test (c)"]``."""
    split_then, split_now = _split_of(theirs), _split_of(ours)
    groups: dict[str, list[str]] = {}
    for video_id in dict.fromkeys([*split_then, *split_now]):
        then, now = split_then.get(video_id), split_now.get(video_id)
        if then is None:
            groups.setdefault(f"more in {now}", []).append(video_id)
        elif now is None:
            groups.setdefault(f"fewer in {then}", []).append(video_id)
        elif then != now:
            groups.setdefault(f"moved from {then} to {now}", []).append(video_id)
        elif theirs[then][video_id] != ours[now][video_id]:
            groups.setdefault(f"with another label or segment in {now}", []).append(video_id)
    return [f"{len(ids):,} {how} ({first_few(ids, most=3)})" for how, ids in groups.items()]


def _split_of(keys: ClipKeys) -> dict[str, str]:
    return {video_id: split for split, of_split in keys.items() for video_id in of_split}


def changed_settings(checkpoint: dict[str, Any], info: dict[str, Any]) -> list[str]:
    """Settings that may change on resume and did: ``["data.batch_size=16 there, 8 now"]``.

    A resumed run follows all of them from its first epoch on.
    """

    def may_change(info: dict[str, Any]) -> dict[str, Any]:
        settings = info.get("settings", {})
        later = {key: {**added, **settings.get(key, {})} for key, added in _LATER_SETTINGS.items()}
        return {
            **{key: value for key, value in (settings | later).items() if key not in _INPUT_SETTINGS},
            "seed": info["seed"],
            "dataset": {"name": info["dataset"]},
        }

    theirs, ours = checkpoint["asl"], info
    if "settings" not in theirs:
        ours = {**ours, "settings": {}}
    changed = difference(may_change(theirs), may_change(ours))
    if "clips" in theirs and list(theirs["clips"]["train"]) != list(ours["clips"]["train"]):
        changed.append("the order of the training clips")
    return changed


def not_compared(checkpoint: dict[str, Any]) -> list[str]:
    """What a checkpoint of an earlier version does not hold, so that it cannot be compared."""
    missing = {
        "clips": "the clips of each split",
        "settings": "the settings of optim, loss, augment, trainer, reader, frames",
    }
    return [what for key, what in missing.items() if key not in checkpoint["asl"]]


def check_epochs(
    checkpoint: dict[str, Any], path: Path, folder: Path, max_epochs: int, *, stopped: bool = False
) -> None:
    """Check that a run with ``max_epochs`` can be resumed from a checkpoint into ``folder``.

    A finished run can be resumed in its own folder: its best epoch is measured again.

    Args:
        checkpoint: the result of :func:`~asl.training.checkpoints.read_checkpoint`.
        path: its file, for messages.
        folder: folder of the resumed run's checkpoints.
        max_epochs: of the resumed run.
        stopped: whether the run has stopped early, see :meth:`EarlyStop.has_stopped`.

    Raises:
        CheckpointError: the checkpoint has more epochs; or as many, or those of a run that has stopped, and
            lies in another folder.
    """
    info = checkpoint["asl"]
    done = info["epoch"]
    in_its_folder = path.resolve().parent == folder.resolve()
    if done < max_epochs and stopped and not in_its_folder:
        raise CheckpointError(
            f"{path} is of a run that has stopped early, after {done} epochs. To train on, set "
            "trainer.early_stopping=null or a larger trainer.patience. To measure its best epoch on test, "
            f"set paths.checkpoint_dir={path.parent} resume={path}"
        )
    if done < max_epochs or (done == max_epochs and in_its_folder):
        return
    planned = info["settings"]["trainer"]["max_epochs"] if "settings" in info else max_epochs
    finished = "is of a run that is finished: it " if done == planned else ""
    raise CheckpointError(
        f"{path} {finished}has {done} epochs, {'more than' if done > max_epochs else 'as many as'} "
        f"trainer.max_epochs={max_epochs}. To train on, set trainer.max_epochs above {done}. To measure its "
        f"best epoch on test, set {shell_override('paths.checkpoint_dir', path.parent)} "
        f"trainer.max_epochs={done} {shell_override('resume', path)}. To start a new run from its weights, "
        f"set {shell_override('model.weights', path)} and no resume"
    )


def difference(theirs: Mapping[str, Any], ours: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Keys whose values differ in two nested dictionaries, as ``key=value there, value now``.

    Another network or loss is ``loss=cross_entropy there, focal now``, and of its fields only those that
    both have are compared.
    """
    lines = []
    for name in dict.fromkeys([*ours, *theirs]):
        first, second = theirs.get(name, "(not set)"), ours.get(name, "(not set)")
        if isinstance(first, dict) and isinstance(second, dict):
            if f"{prefix}{name}" in _CHOICES and first["name"] != second["name"]:
                lines.append(f"{name}={first['name']} there, {second['name']} now")
                shared = first.keys() & second.keys() - {"name"}
                first, second = ({key: one[key] for key in one if key in shared} for one in (first, second))
            lines += difference(first, second, f"{prefix}{name}.")
        elif first != second:
            lines.append(f"{prefix}{name}={as_override(first)} there, {as_override(second)} now")
    return lines
