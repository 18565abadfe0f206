"""Write a checkpoint of a network that was never trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from composing import composed

from asl.data.read_clips import read_clips
from asl.training.identity import checkpoint_info

TINY_NETWORK = ["dataset.name=tiny", "model.weights=null", "model.width=2", "model.layers=[1,1]"]
TINY_INPUT = ["data.resize=[20,30]", "data.crop_size=16", "data.clip_len=4"]


def write_checkpoint(path: Path, data_dir: Path, *overrides: str, **info: Any) -> Path:
    """Write a checkpoint as ``train.py`` does, with random weights, for the clips of ``tiny_data``.

    Args:
        path: the file.
        data_dir: folder of the clips.
        overrides: of the configuration of ``train.py``.
        info: values of the checkpoint's key ``asl`` that are not those of a training.
    """
    config = composed("train", *TINY_NETWORK, *TINY_INPUT, f"paths.data_dir={data_dir}", *overrides)
    labelled = read_clips(config.data.manifests, config.data)
    torch.manual_seed(0)
    network = config.model.build(len(labelled.glosses))
    with torch.no_grad():
        network.fc.weight *= 1000  # predictions that differ from clip to clip
    about = checkpoint_info(
        config, glosses=labelled.glosses, clips=labelled.clips, devices=1, precision="32-true"
    )
    about |= {"epoch": 1, "metrics": {}}
    state = {f"model.{name}": value for name, value in network.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"asl": about | info, "state_dict": state}, path)
    return path
