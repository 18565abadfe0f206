"""Load initial weights: torchvision's Kinetics-400 weights, or those of a file."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import WeightsEnum

from asl.config.setting import as_override
from asl.errors import UserError
from asl.messages import first_few, listed_lines
from asl.model.backbone import CLASSIFIERS, classifier_name
from asl.model.networks.base import KINETICS, NetworkSettings

_MODULE_PREFIX = "model."  # of the network's parameters in an asl checkpoint
_MOST_NAMED = 6  # differences listed in a message


class WeightsError(UserError):
    """Weights that cannot be downloaded or read, or do not fit the network."""


@dataclass(frozen=True)
class Loaded:
    """What of a network was not loaded from weights, because it is for other glosses."""

    new: tuple[str, ...] = ()  # names of the classifier's parameters, or none
    kept: int = 0  # glosses whose row of the classifier was loaded all the same


def load_weights(
    model: nn.Module, weights: str, settings: NetworkSettings, *, glosses: Sequence[str] | None = None
) -> Loaded:
    """Load weights into a network.

    The classifier is not loaded if the number of classes differs, or if the weights are a checkpoint with
    other glosses. With ``settings.keep_glosses``, glosses in common keep their rows of it.

    Args:
        model: the network, changed in place.
        weights: ``kinetics400`` or a file: a torchvision-style state dict or an asl checkpoint.
        settings: settings of the network, which name its Kinetics weights.
        glosses: of the network, by label. None: those of the weights.

    Raises:
        WeightsError: the download fails, the file is missing or damaged, names or shapes differ, the weights
            are for other glosses and the classifier is unknown, or ``settings.keep_glosses`` is set and the
            weights do not name their glosses, or have none of ``glosses``.
    """
    info: dict[str, Any] = {}
    if weights == KINETICS:
        state = kinetics_state(settings)
    else:
        state, info = read_state(Path(weights))
    theirs: Sequence[str] = info.get("glosses", ())
    if settings.keep_glosses and not theirs:
        raise WeightsError(
            f"model.keep_glosses=true: {weights} does not say which glosses it is for, as checkpoints of asl "
            "do. Set model.keep_glosses=false"
        )
    own, prefix = model.state_dict(), f"{classifier_name(model)}."
    head = [key for key in own if key.startswith(prefix)]
    others = bool(theirs) and glosses is not None and list(theirs) != list(glosses)
    if others and not head:
        raise WeightsError(
            f"model.weights={weights} is for other glosses, so the classifier has to be new, but "
            f"{type(model).__name__} has no module {' or '.join(CLASSIFIERS)}. Name its classifier so"
        )
    kept = 0
    if others or any(_shape(state, key) != own[key].shape for key in head):
        if settings.keep_glosses and glosses is not None:
            kept = _copy_rows(own, state, head, theirs=theirs, ours=glosses)
            if not kept:
                raise WeightsError(
                    f"model.keep_glosses=true: {weights} has none of the glosses of this run. It is for "
                    f"{first_few(theirs)}. Set model.keep_glosses=false"
                )
        state = {key: value for key, value in state.items() if not key.startswith(prefix)}
    else:
        head = []
    differences = [f"{key} is missing" for key in own if key not in state and key not in head]
    differences += [f"{key} is not part of the model" for key in state if key not in own]
    differences += [
        f"{key} is {tuple(state[key].shape)}, the model's is {tuple(own[key].shape)}"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    if differences:
        raise WeightsError(
            f"model.weights={weights} does not fit model={settings.name} with these settings:\n"
            f"{listed_lines(differences, _MOST_NAMED)}\n"
            f"Set the model's keys to those of the weights{_keys_of(info)}, "
            "or model.weights=null for random ones"
        )
    model.load_state_dict(state, strict=False)
    return Loaded(tuple(head), kept)


def _keys_of(info: Mapping[str, Any]) -> str:
    """The keys of the network of a checkpoint, for messages: ``: model=r3d model.width=64``.

    Args:
        info: the key ``asl`` of the checkpoint. Empty: of other weights, of which nothing is known.
    """
    keys = {
        "model" if key == "name" else f"model.{key}": value for key, value in info.get("model", {}).items()
    }
    return ": " + " ".join(f"{key}={as_override(value)}" for key, value in keys.items()) if keys else ""


def _copy_rows(
    own: Mapping[str, Tensor],
    state: Mapping[str, Tensor],
    head: Sequence[str],
    *,
    theirs: Sequence[str],
    ours: Sequence[str],
) -> int:
    """Copy the classifier's rows of glosses in common from ``state`` to ``own``. Returns their number."""
    label_there = {gloss: label for label, gloss in enumerate(theirs) if gloss}
    pairs = [(label, label_there[gloss]) for label, gloss in enumerate(ours) if gloss in label_there]
    to, source = torch.tensor(pairs, dtype=torch.long).view(-1, 2).unbind(dim=1)
    for key in head:
        there = state.get(key)
        if (
            there is not None
            and there.shape == (len(theirs), *own[key].shape[1:])
            and len(own[key]) == len(ours)
        ):
            own[key][to] = there[source].to(own[key])
    return len(pairs)


def kinetics_state(settings: NetworkSettings) -> dict[str, Tensor]:
    """torchvision's Kinetics-400 weights. They are downloaded once into torch's cache; the hash is checked.

    Raises:
        WeightsError: there are none for this network, or they cannot be downloaded, or the file is damaged.
    """
    weights: WeightsEnum | None = settings.kinetics_weights()
    if weights is None:
        raise WeightsError(
            f"model.weights={KINETICS}: there are no such weights for model={settings.name}. Set "
            "model.weights=null for random ones, or name a file"
        )
    cached = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
    try:
        state: dict[str, Tensor] = weights.get_state_dict(progress=True, check_hash=True, weights_only=True)
    except (OSError, HTTPException, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        if cached.is_file():
            raise WeightsError(
                f"model.weights={KINETICS}: {cached} is damaged ({error}). Delete it and try again"
            ) from error
        raise WeightsError(
            f"model.weights={KINETICS}: {weights.url} cannot be downloaded ({error}).\n"
            "Download it where there is a network and give the file: model.weights=path/to/"
            f"{cached.name}\nor start from random weights: model.weights=null"
        ) from error
    return state


def read_state(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read the parameters of a network from a file, without executing code from it.

    Returns:
        The parameters, and the key ``asl`` of a checkpoint, which is empty for other files.

    Raises:
        WeightsError: the file is missing, or is neither a state dict nor an asl checkpoint.
    """
    if path.is_dir():
        raise WeightsError(f"model.weights={path} is a folder; name a file in it, such as best.pt")
    if not path.is_file():
        raise WeightsError(f"model.weights={path}: no such file. Known without a file: {KINETICS}, null")
    content, info = read_tensors(path), {}
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        info = content.get("asl", {})
        state = content["state_dict"]
        prefixed = {
            k.removeprefix(_MODULE_PREFIX): v for k, v in state.items() if k.startswith(_MODULE_PREFIX)
        }
        content = prefixed or state
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise WeightsError(f"model.weights={path} holds neither a state dict nor a checkpoint of asl")
    return content, info


def read_tensors(path: Path, map_location: Any = "cpu") -> Any:
    """Read a file that ``torch.save`` wrote, if it holds only tensors and plain values. Executes no code.

    Raises:
        WeightsError: the file is damaged, was not written by torch, or holds other objects.
    """
    try:
        return torch.load(path, map_location=map_location, weights_only=True)
    except (RuntimeError, EOFError, OSError) as error:
        reason = (str(error).splitlines() or ["it is cut short"])[0].split(". ")[0]
        raise WeightsError(f"{path} cannot be read: {reason}") from error
    except Exception as error:  # unpickling other files can raise anything
        raise WeightsError(f"{path} cannot be read: it is no file of tensors and plain values") from error


def _shape(state: dict[str, Tensor], key: str) -> torch.Size | None:
    return state[key].shape if key in state else None
