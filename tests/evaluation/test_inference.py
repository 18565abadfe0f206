"""Probabilities for clips: the input of validation, views and probes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from asl.contract.frame_store import FrameSettings
from asl.contract.manifest import Clip, read_manifest
from asl.data.datamodule import ClipDataModule
from asl.data.readers.frames import FramesReaderSettings
from asl.data.sampling import Sampling, grid_positions
from asl.data.settings import DataSettings
from asl.evaluation.inference import UNCHANGED, PredictionError, predict_clips
from asl.evaluation.probes import PROBES
from asl.inference.recogniser import Recogniser
from asl.training.checkpoints import read_checkpoint, restore_network

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def clips(tiny_data: Path) -> list[Clip]:
    manifest = read_manifest(tiny_data / "metadata" / "tiny_manifest.csv")
    return [clip for clip in manifest if clip.split == "test"]


def predicted(
    checkpoint: Path,
    data_dir: Path,
    clips: Sequence[Clip],
    *,
    info: dict[str, Any] | None = None,
    device: torch.device = CPU,
    **options: Any,
) -> dict[str, npt.NDArray[np.float64]]:
    content = read_checkpoint(checkpoint)
    content["asl"] |= info or {}
    reader = FramesReaderSettings().build(FrameSettings(), data_dir / "frames")
    return predict_clips(
        Recogniser(content, device=device), clips, data_dir=data_dir, reader=reader, **options
    )


def test_one_view_is_the_input_of_validation_in_training(
    tiny_data: Path, checkpoint: Path, clips: list[Clip]
) -> None:
    data = ClipDataModule(
        tiny_data / "metadata" / "tiny_manifest.csv",
        data=DataSettings(resize=[20, 30], crop_size=16, clip_len=4, batch_size=4),
    )
    data.prepare_data()
    data.setup()
    network = restore_network(read_checkpoint(checkpoint))
    with torch.no_grad():
        batches = [data.on_after_batch_transfer(batch, 0)["video"] for batch in data.test_dataloader()]
        expected = torch.cat([network(video) for video in batches]).softmax(1).numpy()
    data.free_frames()
    found = predicted(checkpoint, tiny_data, clips)[UNCHANGED]
    assert found == pytest.approx(expected, abs=1e-6)
    assert np.ptp(found, axis=0).max() > 0.01  # the clips differ


def test_a_clip_has_the_same_prediction_alone_and_in_a_batch(
    tiny_data: Path, checkpoint: Path, clips: list[Clip]
) -> None:
    together = predicted(checkpoint, tiny_data, clips, batch_size=4, probes=list(PROBES))
    for i, clip in enumerate(clips):
        alone = predicted(checkpoint, tiny_data, [clip], probes=list(PROBES))
        for name in together:
            assert (alone[name][0] == together[name][i]).all(), name


@pytest.mark.gpu
def test_a_gpu_gives_the_predictions_of_the_cpu(tiny_data: Path, checkpoint: Path, clips: list[Clip]) -> None:
    on_cpu = predicted(checkpoint, tiny_data, clips, probes=list(PROBES))
    on_gpu = predicted(checkpoint, tiny_data, clips, probes=list(PROBES), device=torch.device("cuda"))
    for name, probabilities in on_cpu.items():
        assert on_gpu[name] == pytest.approx(probabilities, abs=1e-3), name


def test_views_are_averaged(tiny_data: Path, checkpoint: Path, clips: list[Clip]) -> None:
    window = {"sampling": vars(Sampling(clip_len=4, frame_stride=2, long="window"))}
    content = read_checkpoint(checkpoint)
    content["asl"] |= window
    recogniser = Recogniser(content, device=CPU)
    found = predicted(checkpoint, tiny_data, clips, info=window, views=3)[UNCHANGED]
    # The windows of 7 of 12 frames start at 0, 2 and 5.
    for clip, row in zip(clips, found, strict=True):
        reader = FramesReaderSettings().build(FrameSettings(), tiny_data / "frames")
        source = reader.source(clip, tiny_data / clip.path)
        views = [
            torch.from_numpy(
                reader.read(clip, source, sampling=recogniser.sampling(view, 3), framing=recogniser.framing)
            )
            for view in range(3)
        ]
        assert row == pytest.approx(recogniser.probabilities(torch.stack(views)).numpy().mean(0), abs=1e-6)
    assert [grid_positions(12, recogniser.sampling(view, 3))[0] for view in range(3)] == [0, 2, 5]


def test_normalisation_and_crop_are_those_of_the_checkpoint(
    tiny_data: Path, checkpoint: Path, clips: list[Clip]
) -> None:
    usual = predicted(checkpoint, tiny_data, clips)[UNCHANGED]
    for info in ({"mean": [0.0, 0.0, 0.0]}, {"std": [1.0, 1.0, 1.0]}, {"crop_size": 8}):
        assert predicted(checkpoint, tiny_data, clips, info=info)[UNCHANGED] != pytest.approx(usual, abs=1e-6)


def numbered(clips: int = 2, frames: int = 5) -> Tensor:
    """``(B, T, 2, 2, 1)``: the frame's number left, 100 more on the right."""
    video = torch.zeros(clips, frames, 2, 2, 1, dtype=torch.uint8)
    video += torch.arange(frames, dtype=torch.uint8).view(1, -1, 1, 1, 1)
    video[..., 1, :] += 100
    return video


def test_probes_take_time_or_handedness_away() -> None:
    video, ids = numbered(), ["a", "b"]
    left = {name: probe(video, ids, 0)[:, :, 0, 0, 0].tolist() for name, probe in PROBES.items()}
    assert left["reverse"] == [[4, 3, 2, 1, 0]] * 2
    assert left["static"] == [[2] * 5] * 2
    assert left["mirror"] == [[100, 101, 102, 103, 104]] * 2
    assert [sorted(frames) for frames in left["shuffle"]] == [[0, 1, 2, 3, 4]] * 2
    assert left["shuffle"][0] != left["shuffle"][1]


def test_the_order_of_shuffled_frames_depends_on_seed_and_clip_alone() -> None:
    video, shuffle = numbered(), PROBES["shuffle"]
    both = shuffle(video, ["a", "b"], 3)
    assert torch.equal(shuffle(video, ["b", "a"], 3), both.flip(0))
    assert not torch.equal(shuffle(video, ["a", "b"], 4), both)


def test_a_network_that_diverged_is_an_error_that_names_a_clip(
    tiny_data: Path, checkpoint: Path, clips: list[Clip], tmp_path: Path
) -> None:
    content = read_checkpoint(checkpoint)
    content["state_dict"]["model.fc.weight"][:] = float("nan")
    torch.save(content, tmp_path / "nan.pt")
    with pytest.raises(PredictionError, match=r"6 clips, the first is test000\."):
        predicted(tmp_path / "nan.pt", tiny_data, clips)
