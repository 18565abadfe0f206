"""Proofs by the GPU's decoder: it passes what is whole and refuses nearly all that the host's refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from raw_videos import RATES, write_raw

from asl.preprocess import nvdec, video
from asl.preprocess.nvdec import read_clip, unit_types
from asl.preprocess.video import VideoError

# ---------------------------------------------------------------- bytes


def unit(*content: int) -> bytes:
    return len(content).to_bytes(4, "big") + bytes(content)


def test_units_are_told_apart_by_their_lengths() -> None:
    packet = unit(0x67, 1, 2) + unit(0x65, 0, 0, 3, 1)
    assert list(unit_types(packet, length_size=4)) == [7, 5]
    assert list(unit_types(b"\0\2\x41\x9a", length_size=2)) == [1]


@pytest.mark.parametrize("packet", [unit(0x65, 1, 2)[:-1], unit(0x65, 1) + b"\0\0", b"\0\0\0\0", b"\0\0\0\1"])
def test_units_that_do_not_fill_their_packet_are_damage(packet: bytes) -> None:
    with pytest.raises(VideoError, match="do not fill their packet"):
        list(unit_types(packet, length_size=4))


@pytest.mark.parametrize("content", [(0, 0, 0, 1), (7, 0, 0, 1, 7), (7, 0, 0, 2, 7), (7, 0)])
def test_bytes_that_no_unit_can_have_are_damage(content: tuple[int, ...]) -> None:
    with pytest.raises(VideoError, match="zeros in place of data"):
        list(unit_types(unit(0x65, *content), length_size=4))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_copied_clip_is_read_whole(tmp_path: Path, suffix: str) -> None:
    source, clip = write_raw(tmp_path / f"a{suffix}", duration_s=3), tmp_path / "clip.mp4"
    video.copy(source, clip)
    found = read_clip(clip)
    assert found.index == video.read_index(clip)
    assert len(found.pictures) == 75
    assert found.pictures[0].is_idr
    assert sorted(picture.pts for picture in found.pictures) != [picture.pts for picture in found.pictures]


def test_zeros_in_place_of_data_are_found_without_decoding(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    video.copy(write_raw(tmp_path / "a.mp4"), clip)
    change(clip, np.random.default_rng(0), zero)
    with pytest.raises(VideoError, match="zeros in place of data"):
        read_clip(clip)


def test_what_is_no_h264_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="does not say how long its units are"):
        read_clip(write_raw(tmp_path / "a.mp4", codec="mpeg4"))


# ---------------------------------------------------------------- on a GPU


def flip(data: bytearray, rng: np.random.Generator) -> None:
    data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))


def invert(data: bytearray, rng: np.random.Generator) -> None:
    data[rng.integers(len(data))] ^= 0xFF


def scramble(data: bytearray, rng: np.random.Generator) -> None:
    start = int(rng.integers(len(data) - 16))
    data[start : start + 16] = rng.bytes(16)


def zero(data: bytearray, rng: np.random.Generator) -> None:
    start = int(rng.integers(len(data) // 2))
    data[start : start + 200] = bytes(len(data[start : start + 200]))


DAMAGES: tuple[Callable[[bytearray, np.random.Generator], None], ...] = (flip, invert, scramble, zero)


def change(path: Path, rng: np.random.Generator, damage: Callable[..., None]) -> None:
    """Damage one picture's bytes in a file, behind the head of its unit."""
    with av.open(str(path)) as container:
        places = [(p.pos, p.size) for p in container.demux(video=0) if p.size > 60 and p.pos is not None]
    position, size = places[rng.integers(len(places))]
    content = bytearray(path.read_bytes())
    start = position + 12
    data = content[start : position + size]
    damage(data, rng)
    content[start : position + size] = data
    path.write_bytes(content)


def gpu_refuses(path: Path) -> bool:
    try:
        nvdec.check(read_clip(path))
    except VideoError:
        return True
    return False


def host_refuses(path: Path) -> bool:
    try:
        video.decode(path)
    except VideoError:
        return True
    return False


@pytest.mark.gpu
@pytest.mark.parametrize("rate", RATES)
def test_the_gpu_passes_whole_clips(tmp_path: Path, rate: str) -> None:
    clip = tmp_path / "clip.mp4"
    video.copy(write_raw(tmp_path / "a.mkv", fps=RATES[rate], duration_s=12, size=(320, 240)), clip)
    found = read_clip(clip)
    nvdec.check(found)
    decoded = video.decode(clip)
    assert (found.index.times, found.index.end) == (decoded.timeline.times, decoded.timeline.end)


@pytest.mark.gpu
@pytest.mark.parametrize("damage", DAMAGES)
def test_the_gpu_refuses_nearly_all_that_the_host_refuses(
    tmp_path: Path, damage: Callable[..., None]
) -> None:
    whole, clip = tmp_path / "whole.mp4", tmp_path / "clip.mp4"
    video.copy(write_raw(tmp_path / "a.mp4", size=(320, 240), duration_s=3), whole)
    rng = np.random.default_rng(0)
    refused, missed = 0, []
    for attempt in range(25):
        clip.write_bytes(whole.read_bytes())
        change(clip, rng, damage)
        if host_refuses(clip):
            refused += 1
            missed += [] if gpu_refuses(clip) else [attempt]
    assert refused > 10
    assert len(missed) <= refused // 10  # 2 of 100, see benchmarks/README.md


@pytest.mark.gpu
def test_the_gpu_refuses_a_clip_that_lacks_a_reference_picture(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    video.copy(write_raw(tmp_path / "a.mp4", duration_s=3), clip)
    found = read_clip(clip)
    references = [i for i, picture in enumerate(found.pictures) if picture.data[4] & 0x60 and i]
    for missing in references[:5]:
        pictures = [picture for i, picture in enumerate(found.pictures) if i != missing]
        with pytest.raises(VideoError, match="lacks a picture"):
            nvdec.check(nvdec.CodedClip(found.index, pictures))
    nvdec.check(found)  # and goes on with whole ones
