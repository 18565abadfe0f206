"""The proof of H.264 streams, by the parser in a host compiler's build; on a GPU where there is one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pytest
from h264_clips import HostSliceParser, bitstream, demux, encode, is_refused_by_ffmpeg, ranks_of

from asl.preprocess.gpu.h264.bitstream import read_bitstream, split_avcc, split_packet
from asl.preprocess.gpu.h264.layout import MAX_OPERATIONS, RESULT, SLICE
from asl.preprocess.gpu.h264.prover import SliceParser, prove
from asl.preprocess.gpu.h264.rbsp import H264Error, UnsupportedH264Error, unescape
from asl.preprocess.gpu.h264.references import check_references
from asl.preprocess.gpu.h264.source import vlc_table
from asl.preprocess.gpu.h264.verdict import Verdict, _check_order, judge

#: x264-params by name. Together they use every syntax element that the parser knows.
SETTINGS = {
    "cabac": "",
    "cavlc": "cabac=0",
    "no 8x8": "8x8dct=0",
    "cavlc 8x8": "cabac=0:8x8dct=1:partitions=all",
    "all partitions": "partitions=all:subme=9:me=umh:ref=4",
    "all partitions, cavlc": "partitions=all:subme=9:me=umh:ref=4:cabac=0",
    "slices": "slices=4",
    "slices, cavlc": "slices=3:cabac=0",
    "slices that begin within a row": "slice-max-mbs=17",
    "small slices": "slice-max-size=200:cabac=0",
    "B pyramid": "bframes=5:b-adapt=2:b-pyramid=normal:ref=8",
    "strict B pyramid": "bframes=7:b-adapt=0:b-pyramid=strict:ref=5",
    "16 references": "bframes=5:b-adapt=0:b-pyramid=normal:ref=16:weightp=2",
    "16 references, slices": "bframes=3:ref=16:slices=3:cabac=0",
    "temporal direct": "direct=temporal:bframes=4",
    "spatial direct, cavlc": "direct=spatial:bframes=4:cabac=0",
    "weights": "weightp=2:weightb=1:bframes=3",
    "intra only": "keyint=1",
    "intra refresh": "intra-refresh=1:keyint=6",
    "constrained intra": "constrained-intra=1",
    "constrained intra, cavlc": "constrained-intra=1:cabac=0",
    "open GOP": "open-gop=1:keyint=5:bframes=3",
    "QP 1": "qp=1",
    "QP 1, cavlc": "qp=1:cabac=0",
    "lossless": "qp=0",
    "lossless, cavlc": "qp=0:cabac=0",
    "QP 51": "qp=51",
    "scaling lists": "cqm=jvt",
    "no deblocking": "no-deblock=1",
    "delimiters": "aud=1",
    "HRD": "crf=23:nal-hrd=vbr:vbv-maxrate=500:vbv-bufsize=500",
}


@lru_cache(maxsize=64)
def clip(name: str) -> bytes:
    return encode(SETTINGS[name])


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> HostSliceParser:
    return HostSliceParser(tmp_path_factory.mktemp("parser"))


def verdict(
    extradata: bytes, packets: list[bytes], parse: SliceParser, ranks: list[int] | None = None
) -> Verdict:
    """As for a clip of a run: damage can also be found before slices are parsed."""
    try:
        return prove([read_bitstream(extradata, packets, ranks)], parse)[0]
    except UnsupportedH264Error as error:
        return Verdict(False, str(error), unsupported=True)
    except H264Error as error:
        return Verdict(False, str(error))


@pytest.mark.parametrize("name", SETTINGS)
def test_a_sound_stream_is_parsed_to_its_last_bit(name: str, host: HostSliceParser) -> None:
    assert prove([bitstream(clip(name))], host) == [Verdict(True)]


@pytest.mark.parametrize("cabac", [0, 1])
def test_pictures_of_noise_with_pcm_macroblocks_are_sound(cabac: int, host: HostSliceParser) -> None:
    noise = encode(f"qp=1:cabac={cabac}", size=(64, 48), frames=3, grain=150)
    assert prove([bitstream(noise)], host) == [Verdict(True)]


@pytest.mark.parametrize("size", [(34, 50), (320, 240), (1280, 720), (1920, 1080)])
def test_pictures_of_any_size_are_sound(size: tuple[int, int], host: HostSliceParser) -> None:
    stream = bitstream(encode(size=size, frames=3))
    assert (stream.sequences[0].width, stream.sequences[0].height) == size
    assert prove([stream], host) == [Verdict(True)]


def test_streams_that_are_proven_together_get_the_verdict_of_each_alone(host: HostSliceParser) -> None:
    extradata, packets = demux(clip("cavlc"))
    packets[3] = packets[3][:-8] + bytes(8)
    streams = [bitstream(clip(name)) for name in SETTINGS]
    streams.insert(4, read_bitstream(extradata, packets))
    together = prove(streams, host)
    assert together == [prove([stream], host)[0] for stream in streams]
    assert [i for i, one in enumerate(together) if not one.ok] == [4]


@pytest.mark.parametrize(
    "name", ["cabac", "cavlc", "all partitions", "small slices", "weights", "QP 1, cavlc"]
)
def test_damage_that_ffmpegs_strict_decoder_refuses_is_refused(name: str, host: HostSliceParser) -> None:
    extradata, packets = demux(clip(name))
    rng = np.random.default_rng(1)
    missed, refused, by_ffmpeg = [], 0, 0
    for trial in range(120):
        damaged, index = list(packets), int(rng.integers(len(packets)))
        data = bytearray(damaged[index])
        at = int(rng.integers(5, len(data)))
        match trial % 4:
            case 0:
                data[at] ^= 1 << int(rng.integers(8))
            case 1:
                data[at] = int(rng.integers(256))
            case 2:
                data[at : at + 16] = rng.integers(0, 256, len(data[at : at + 16]), np.uint8).tobytes()
            case 3:
                data[at:] = bytes(len(data) - at)
        damaged[index] = bytes(data)
        found = not verdict(extradata, damaged, host).ok
        expected = is_refused_by_ffmpeg(extradata, damaged)
        refused, by_ffmpeg = refused + found, by_ffmpeg + expected
        if expected and not found:
            missed.append((trial, index, at))
    assert missed == []
    assert refused >= by_ffmpeg > 30


@pytest.mark.parametrize("name", ["cabac", "cavlc", "slices"])
def test_a_slice_that_is_cut_swapped_or_missing_is_refused(name: str, host: HostSliceParser) -> None:
    extradata, packets = demux(clip(name))
    size, _ = split_avcc(extradata)

    def packed(units: list[bytes]) -> bytes:
        return b"".join(len(unit).to_bytes(size, "big") + unit for unit in units)

    *before, last = split_packet(packets[4], size)
    cut = [*packets[:4], packed([*before, last[:-3]]), *packets[5:]]
    assert not verdict(extradata, cut, host).ok
    swapped = [*packets[:1], packets[4], *packets[2:4], packets[1], *packets[5:]]
    assert "frame_num" in verdict(extradata, swapped, host).reason
    if before:
        missing = [*packets[:4], packed(before), *packets[5:]]
        assert "do not fill the picture" in verdict(extradata, missing, host).reason
        twice = [*packets[:4], packed([*before, last, last]), *packets[5:]]
        assert "do not fill the picture" in verdict(extradata, twice, host).reason


def test_a_slice_that_ends_with_a_skip_run_of_zero_is_refused(host: HostSliceParser) -> None:
    extradata, packets = demux(clip("slices, cavlc"))
    size, _ = split_avcc(extradata)
    for index in range(1, len(packets)):
        first, *others = split_packet(packets[index], size)
        longer = int.from_bytes(first + b"\0", "big")
        longer |= (longer & -longer) >> 1  # rbsp_stop_one_bit becomes mb_skip_run 0, and another one follows
        units = [longer.to_bytes(len(first) + 1, "big"), *others]
        damaged = b"".join(len(unit).to_bytes(size, "big") + unit for unit in units)
        changed = [*packets[:index], damaged, *packets[index + 1 :]]
        assert is_refused_by_ffmpeg(extradata, changed)
        assert not verdict(extradata, changed, host).ok, index


@pytest.mark.parametrize("name", ["cabac", "B pyramid", "open GOP", "cavlc"])
def test_pictures_in_another_order_than_their_time_stamps_are_refused(
    name: str, host: HostSliceParser
) -> None:
    data = clip(name)
    extradata, packets = demux(data)
    times = ranks_of(data)
    assert prove([read_bitstream(extradata, packets, times)], host)[0].ok
    times[3], times[4] = times[4], times[3]
    assert "PicOrderCnt" in prove([read_bitstream(extradata, packets, times)], host)[0].reason


def test_a_parameter_set_under_the_wrong_header_is_refused() -> None:
    extradata, packets = demux(clip("cabac"))
    _, units = split_avcc(extradata)
    for kind, unit in units:
        for header in (kind, 0x60 | (kind ^ 1), 0xE0 | kind):
            with pytest.raises(H264Error, match="parameter set"):
                read_bitstream(extradata.replace(unit, bytes([header]) + unit[1:]), packets)


def test_a_reason_names_picture_slice_macroblock_and_bit(host: HostSliceParser) -> None:
    extradata, packets = demux(clip("slices"))
    packets[2] = packets[2][:-5] + bytes(5)
    found = verdict(extradata, packets, host)
    assert not found.ok
    assert not found.unsupported
    assert found.reason.startswith("picture 2, slice 3, macroblock ")
    assert ", bit " in found.reason


@pytest.mark.parametrize(
    ("x264", "pix_fmt", "why"),
    [("interlaced=1", "yuv420p", "interlaced"), ("", "yuv422p", "4:2:0"), ("", "yuv420p10le", "8 bits")],
)
def test_streams_of_other_kinds_are_unsupported_not_damaged(x264: str, pix_fmt: str, why: str) -> None:
    with pytest.raises(UnsupportedH264Error, match=why):
        bitstream(encode(x264, size=(64, 64), frames=2, pix_fmt=pix_fmt))


def test_damage_in_parameter_sets_and_messages_is_found() -> None:
    extradata, packets = demux(clip("cabac"))
    _, units = split_avcc(extradata)
    found = 0
    for _, unit in units:
        for bit in range(8, 8 * len(unit)):
            damaged = bytearray(unit)
            damaged[bit // 8] ^= 128 >> bit % 8
            try:
                read_bitstream(extradata.replace(unit, bytes(damaged)), packets)
            except H264Error:
                found += 1
    assert found > 20
    sei = packets[0]
    assert sei[4] == 6
    with pytest.raises(H264Error, match="supplemental"):
        read_bitstream(extradata, [sei[:6] + b"\x20" + sei[7:], *packets[1:]])


@pytest.mark.parametrize("cut", [4, 9, 20])
def test_a_decoder_configuration_that_is_cut_is_an_error(cut: int) -> None:
    extradata, packets = demux(clip("cabac"))
    with pytest.raises(H264Error):
        read_bitstream(extradata[:cut], packets)


def test_lengths_of_nal_units_fill_their_packet() -> None:
    assert split_packet(b"\0\0\0\2ab\0\0\0\1c", 4) == [b"ab", b"c"]
    for bad in (b"\0\0\0\3ab", b"\0\0\0\0", b"\0\0\0\2ab\0"):
        with pytest.raises(H264Error):
            split_packet(bad, 4)


def test_emulation_prevention_is_undone() -> None:
    assert unescape(b"\x65\0\0\3\1\0\0\3\0\0\3\x80") == b"\x65\0\0\1\0\0\0\0\x80"
    assert unescape(b"\x65\x80\0\0\3\0\0\3") == b"\x65\x80"
    with pytest.raises(H264Error, match="start code"):
        unescape(b"\x65\0\0\1\x80")


def test_a_table_of_codes_decodes_each_of_them() -> None:
    codes = {"1": 0, "011": 1, "010": 2, "0000": 3}
    table = vlc_table(codes)
    for code, value in codes.items():
        bits = f"{code}{'1' * 16}"
        zeros = len(bits) - len(bits.lstrip("0"))
        entry = table[zeros * 8 + int(bits[zeros + 1 : zeros + 4], 2)]
        assert divmod(entry, 32) == (value, len(code))
    assert table[2 * 8] == 0
    with pytest.raises(ValueError, match="no table"):
        vlc_table({"10000": 1})


@pytest.mark.parametrize("name", ["B pyramid", "strict B pyramid", "16 references", "intra refresh"])
def test_a_long_sound_stream_names_only_pictures_that_exist(name: str, host: HostSliceParser) -> None:
    stream = bitstream(encode(SETTINGS[name], size=(64, 48), frames=70))
    results = host([stream.data], stream.slices, stream.params)
    assert results["num_operations"].max() > 0
    assert judge(stream, results) == Verdict(True)


def test_a_damaged_header_that_names_no_picture_is_refused_as_by_ffmpeg(host: HostSliceParser) -> None:
    mp4 = encode(SETTINGS["B pyramid"], size=(64, 48), frames=20)
    (extradata, packets), times = demux(mp4), ranks_of(mp4)
    found: Counter[str] = Counter()
    for index in range(1, len(packets)):
        for bit in range(8 * 5, 8 * 12):
            data = bytearray(packets[index])
            if bit // 8 >= len(data):
                continue
            data[bit // 8] ^= 128 >> bit % 8
            damaged = [*packets[:index], bytes(data), *packets[index + 1 :]]
            one = verdict(extradata, damaged, host, times)
            if one.ok:
                assert not is_refused_by_ffmpeg(extradata, damaged), (index, bit)
            elif kind := re.search("list . names|frame_num [0-9]+ is removed|without a picture", one.reason):
                assert is_refused_by_ffmpeg(extradata, damaged), (index, bit, one)
                assert one.unsupported == (kind[0] == "without a picture")
                found[kind[0][-7:]] += 1
    assert set(found) == {"0 names", "removed", "picture"}


def modify(idc: int, value: int, which: int = 0) -> int:
    return (4 * which + idc) << 24 | value


def mmco(operation: int, value: int = 0, long_term: int = 0) -> int:
    return (8 + operation) << 24 | long_term << 16 | value


class Picture(NamedTuple):
    """A slice header that fills a picture: its operations, frame_num, and what else matters."""

    operations: tuple[int, ...] = ()
    frame_num: int = -1  # one more than before
    is_reference: bool = True
    kind: int = 0
    adaptive: bool | None = None  # if there are operations of marking
    slices: int = 1
    lengths: tuple[int, int] = (1, 0)


def check(pictures: Sequence[Picture], *, most: int = 3, gaps: bool = False) -> None:
    """check_references on pictures behind an IDR picture, unless the first has kind 2."""
    if pictures[0].kind != 2:
        pictures = [Picture(kind=2), *pictures]
    like = bitstream(clip("cabac"))
    count = sum(picture.slices for picture in pictures)
    slices, results = np.zeros(count, SLICE), np.zeros(count, RESULT)
    number, at, indices = -1, 0, []
    for index, picture in enumerate(pictures):
        number = (number + 1) % 16 if picture.frame_num < 0 else picture.frame_num
        for _ in range(picture.slices):
            slices["nal_unit_type"][at] = 1 if index else 5
            slices["nal_ref_idc"][at] = picture.is_reference
            results["frame_num"][at], results["slice_kind"][at] = number, picture.kind
            is_adaptive = index > 0 and any(one >> 24 > 8 for one in picture.operations)
            results["adaptive_marking"][at] = is_adaptive if picture.adaptive is None else picture.adaptive
            results["num_operations"][at] = len(picture.operations)
            for i, operation in enumerate(picture.operations[:MAX_OPERATIONS]):
                results[f"operation_{i}"][at] = operation
            results["num_refs_l0"][at], results["num_refs_l1"][at] = picture.lengths if index else (0, 0)
            results["resets"][at] = mmco(5) in picture.operations
            indices.append(index)
            at += 1
        number = 0 if mmco(5) in picture.operations else number - (not picture.is_reference)
    sequence = replace(
        like.sequences[0], max_num_ref_frames=most, gaps_in_frame_num=gaps, log2_max_frame_num=4
    )
    stream = replace(like, slices=slices, pictures=np.array(indices), sequences=(sequence,), ranks=None)
    check_references(stream, results)


P, UNUSED = Picture(), Picture(is_reference=False)


@pytest.mark.parametrize(
    "pictures",
    [
        [P, P, Picture((modify(0, 0), modify(0, 0), modify(1, 0)))],
        [P] * 20 + [Picture((modify(0, 2), modify(1, 0), modify(0, 14)))],
        [P, P, Picture((modify(0, 1), modify(0, 0, 1)), kind=1, is_reference=False)],
        [P, P, Picture((mmco(1, 2),)), Picture((modify(0, 0), modify(0, 0), modify(0, 0)))],
        [
            Picture((mmco(4, 0, 1), mmco(3, 0, 0))),
            Picture((modify(2, 0),)),
            *[P] * 20,
            Picture((modify(2, 0),)),
        ],
        [Picture((mmco(6),), kind=2), *[P] * 20, Picture((modify(2, 0), mmco(2, 0, 0))), P, P],
        [P, P, Picture((mmco(5),)), Picture((modify(0, 0),)), P, P],
        [P, Picture((mmco(4, 0, 2), mmco(6, 0, 1))), P, Picture((modify(2, 1), mmco(4, 0, 0))), P, P, P],
        [P, Picture((modify(0, 0), mmco(1, 0)), slices=3)],
        [P, UNUSED, UNUSED, Picture((modify(0, 0),))],
    ],
)
def test_headers_that_name_pictures_that_exist_are_sound(pictures: list[Picture]) -> None:
    check(pictures)


@pytest.mark.parametrize(
    ("pictures", "reason"),
    [
        ([P, Picture((modify(0, 2),))], "picture 2, slice 0: list 0 names the picture of frame_num 15,"),
        ([P] * 5 + [Picture((modify(0, 3),))], "list 0 names the picture of frame_num 2,"),
        ([P, Picture((modify(0, 0), modify(1, 7, 1)), kind=1)], "list 1 names the picture of frame_num 10,"),
        ([P, Picture((modify(2, 0),))], "list 0 names the long-term picture 0"),
        ([P, UNUSED, Picture((modify(0, 0), modify(0, 2)))], "list 0 names"),
        ([P, Picture((mmco(1, 3),))], "frame_num 14 is removed"),
        ([P, P, Picture((mmco(1, 1), mmco(1, 1)))], "frame_num 1 is removed"),
        ([P, Picture((mmco(1, 0),)), Picture((modify(0, 1),))], "picture 3, slice 0: list 0 names"),
        ([Picture((mmco(2, 0, 0),))], "long-term picture 0 is removed"),
        ([Picture((mmco(3, 5, 0),))], "marking for long-term reference names"),
        ([Picture((mmco(4, 0, 1), mmco(3, 0, 0))), Picture((modify(0, 1),))], "list 0 names"),
        ([Picture((mmco(6),), kind=2), Picture((modify(0, 0),))], "list 0 names"),
        ([P, Picture((mmco(5),)), Picture((modify(0, 1),))], "list 0 names"),
        ([P, P, Picture(adaptive=True)], "more reference pictures"),
        ([P, P, Picture((mmco(4, 0, 1), mmco(6)))], "more reference pictures"),
        ([P, P._replace(frame_num=1, adaptive=True)], "two reference pictures"),
    ],
)
def test_a_header_that_names_no_picture_is_refused(pictures: list[Picture], reason: str) -> None:
    with pytest.raises(H264Error, match=reason) as caught:
        check(pictures)
    assert not isinstance(caught.value, UnsupportedH264Error)


def test_slices_of_a_picture_mark_the_same_pictures(host: HostSliceParser) -> None:
    stream = bitstream(clip("16 references, slices"))
    results = host([stream.data], stream.slices, stream.params)
    assert judge(stream, results).ok
    last = int(np.flatnonzero(stream.slices["nal_ref_idc"] > 0)[-1])
    results["num_operations"][last], results["adaptive_marking"][last] = 1, 1
    results["operation_0"][last] = mmco(1, 0)
    assert "dec_ref_pic_marking() differs" in judge(stream, results).reason


def test_what_lies_in_gaps_of_frame_num_is_left_to_the_host() -> None:
    after = P._replace(frame_num=3)
    check([P, after, Picture((modify(0, 0),))], gaps=True)
    check([P, after, Picture((modify(0, 0), mmco(1, 1)))], gaps=True)
    with pytest.raises(UnsupportedH264Error, match="names a frame in a gap"):
        check([P, after._replace(operations=(modify(0, 0),))], gaps=True)
    with pytest.raises(UnsupportedH264Error, match="only frames in a gap"):
        check([P, P._replace(frame_num=9)], gaps=True)
    check([P, P._replace(frame_num=9, kind=2), P, P], gaps=True)


def test_lists_that_are_longer_than_there_are_pictures_are_left_to_the_host() -> None:
    check([P, P, P, P, P._replace(lengths=(3, 3), kind=1)])
    for lengths in (4, 0), (1, 4), (3, 2):
        with pytest.raises(UnsupportedH264Error, match=r"^picture 2, slice 0: .* without a picture"):
            check([P, P._replace(lengths=lengths)], most=3)
    twice = (modify(0, 0), modify(0, 0), modify(1, 0))  # weighted prediction names a picture twice
    check([P, P._replace(operations=twice, lengths=(3, 0))])
    with pytest.raises(UnsupportedH264Error, match="without a picture"):
        check([P, P._replace(operations=twice, lengths=(4, 0))])
    check([Picture((mmco(6),), kind=2), P, P._replace(operations=(modify(2, 0),) * 2, lengths=(3, 0))])


def test_more_operations_than_a_result_holds_are_left_to_the_host() -> None:
    check([P, Picture((modify(0, 0), *(modify(1, 15),) * (MAX_OPERATIONS - 1)))])
    with pytest.raises(UnsupportedH264Error, match="many operations"):
        check([P, Picture((modify(0, 0), *(modify(1, 15),) * MAX_OPERATIONS))])


@pytest.mark.gpu
def test_gpu_and_host_give_the_same_results(host: HostSliceParser) -> None:
    from asl.preprocess.gpu.cuda import Device
    from asl.preprocess.gpu.h264.prover import GpuSliceParser

    gpu = GpuSliceParser(Device(0))
    rng = np.random.default_rng(2)
    for name in SETTINGS:
        stream = bitstream(clip(name))
        for damage in range(8):
            data = bytearray(stream.data)
            for _ in range(damage):
                data[int(rng.integers(len(data)))] = int(rng.integers(256))
            arguments = [bytes(data)], stream.slices, stream.params
            assert np.array_equal(gpu(*arguments), host(*arguments)), (name, damage)


def test_a_picture_that_resets_the_count_counts_zero(host: HostSliceParser) -> None:
    """memory_management_control_operation 5 (8.2.1)."""
    stream = replace(bitstream(encode("bframes=1", frames=8)), ranks=tuple(range(8)))
    results = host([stream.data], stream.slices, stream.params)
    lsb = [0, 2, 4, 6, 8, 2, 4, 6]
    results["pic_order_cnt_lsb"] = lsb
    assert _check_order(stream, results) is not None
    results["resets"][4] = 1
    assert _check_order(stream, results) is None
