"""Segments that are cut: the right frames at the right times, in every form of raw video."""

import dataclasses
from fractions import Fraction
from pathlib import Path

import av
import pytest
from av.video.reformatter import ColorRange
from clips import write_clip
from raw_videos import RATES, frame_numbers, write_raw

from asl.codecs import segments
from asl.codecs.decoder import decode_file, decode_frames
from asl.codecs.encode import encode_segment
from asl.codecs.encoder import x264
from asl.codecs.probe import probe
from asl.codecs.segments import SegmentReader
from asl.codecs.stream_copy import copy_video
from asl.codecs.timeline import Timeline
from asl.codecs.video_file import VideoError, open_video
from asl.demo import raw_files
from asl.demo.raw_files import read_times

FAST = {"encoder": x264(crf=20, preset="ultrafast")}

FORMS = {
    "h264 mp4": (".mp4", {}),
    "h264 mkv": (".mkv", {}),
    "h264 mov": (".mov", {}),
    "vp9 webm": (".webm", {"codec": "libvpx-vp9"}),
    "mpeg4 avi": (".avi", {"codec": "mpeg4", "fps": Fraction(25)}),
    "h264 avi with B-frames": (".avi", {"fps": Fraction(25)}),
    "odd size": (".avi", {"codec": "mpeg4", "fps": Fraction(25), "size": (129, 97)}),
    "444, odd size": (".mp4", {"pix_fmt": "yuv444p", "size": (133, 99)}),
    "turned by 90": (".mp4", {"rotation": 90}),
    "turned by 180": (".mp4", {"rotation": 180}),
    "turned by 270": (".mov", {"rotation": 270}),
}


def expected(path: Path, start_s: Fraction, end_s: Fraction | None) -> list[int]:
    times = read_times(path)
    return [i for i, t in enumerate(times) if t >= start_s and (end_s is None or t < end_s)]


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize(
    "span", [(0, 1), (Fraction(1, 25), Fraction(2, 25)), (Fraction(32, 25), Fraction(57, 25)), (2, None)]
)
def test_a_clip_has_exactly_the_frames_of_its_segment(tmp_path, rate, span):
    suffix = ".mkv" if rate == "variable" else ".mp4"
    source = write_raw(tmp_path / f"raw{suffix}", fps=RATES[rate], duration_s=2.6)
    start_s, end_s = span
    timeline = encode_segment(source, tmp_path / "clip.mp4", start_s=Fraction(start_s), end_s=end_s, **FAST)
    meant = expected(source, start_s, end_s)
    assert frame_numbers(tmp_path / "clip.mp4") == meant
    # ... at the times at which the source shows them
    times = read_times(source)
    assert list(timeline.times) == [times[i] for i in meant]
    decoded = decode_file(tmp_path / "clip.mp4")
    got, info = decoded.timeline, decoded.info
    assert all(abs((times[i] - times[meant[0]]) - t) < 0.001 for i, t in zip(meant, got.times, strict=True))
    assert abs(got.duration - timeline.duration) < 0.001
    if end_s is not None:  # the last frame is shown until the source's next one
        assert timeline.end == min(t for t in times if t >= end_s)
    assert info.is_plain


@pytest.mark.parametrize("seek_beyond_s", [1, 4], ids=["sought", "decoded from the start"])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_raw_file_is_cut_exactly_upright_and_even(tmp_path, monkeypatch, form, seek_beyond_s):
    monkeypatch.setattr(segments, "_SEEK_BEYOND_S", seek_beyond_s)
    suffix, options = FORMS[form]
    source = write_raw(tmp_path / f"raw{suffix}", duration_s=2.2, **options)
    clip = tmp_path / "clip.mp4"
    encode_segment(source, clip, start_s=Fraction(39, 25), end_s=Fraction(52, 25), **FAST)
    assert frame_numbers(clip) == list(range(39, 52))
    width, height = options.get("size", (144, 108))
    info = probe(clip)
    assert info.is_plain
    assert (info.width, info.height) == (width - width % 2, height - height % 2)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("seek_beyond_s", [Fraction(1, 5), 4])
def test_segments_cut_with_one_reader_equal_those_cut_alone(tmp_path, monkeypatch, rate, seek_beyond_s):
    monkeypatch.setattr(segments, "_SEEK_BEYOND_S", seek_beyond_s)
    source = write_raw(tmp_path / "raw.mkv", fps=RATES[rate], duration_s=3)
    # one after the other, a gap, an overlap, the same again, one before all, to the end, and back
    frames = [(1, 10), (11, 20), (40, 45), (42, 50), (42, 50), (5, 9), (60, -1), (1, -1), (30, 31)]
    with SegmentReader(source) as reader:
        for start, end in frames:
            span = {"start_s": Fraction(start - 1, 25), "end_s": None if end == -1 else Fraction(end, 25)}
            got = encode_segment(source, tmp_path / "clip.mp4", **span, **FAST, reader=reader)
            alone = encode_segment(source, tmp_path / "alone.mp4", **span, **FAST)
            assert got == alone
            assert (tmp_path / "clip.mp4").read_bytes() == (tmp_path / "alone.mp4").read_bytes()
            assert frame_numbers(tmp_path / "clip.mp4") == expected(source, **span)


def test_a_reader_survives_a_damaged_segment(tmp_path):
    source = write_raw(tmp_path / "raw.mp4", damage="bytes", duration_s=8)
    with SegmentReader(source) as reader:
        encode_segment(source, tmp_path / "clip.mp4", end_s=Fraction(1), **FAST, reader=reader)
        with pytest.raises(VideoError):
            encode_segment(source, tmp_path / "clip.mp4", start_s=Fraction(3), **FAST, reader=reader)
        encode_segment(source, tmp_path / "clip.mp4", end_s=Fraction(1), **FAST, reader=reader)
    assert frame_numbers(tmp_path / "clip.mp4") == list(range(25))


@pytest.mark.parametrize(("codec", "suffix"), [("aac", ".mp4"), ("libopus", ".mkv")])
def test_sound_is_kept_only_if_audio_is_true(tmp_path, codec, suffix):
    source = write_raw(tmp_path / f"raw{suffix}", audio=codec, duration_s=3)
    clip = tmp_path / "clip.mp4"
    for audio in (False, True):
        copy_video(source, clip, audio=audio)
        assert probe(clip).has_audio is audio
        encode_segment(source, clip, start_s=Fraction(1), end_s=Fraction(5, 2), audio=audio, **FAST)
        assert probe(clip).has_audio is audio
        assert frame_numbers(clip) == list(range(25, 63))
    with av.open(str(clip)) as container:
        assert container.streams.audio[0].codec_context.name == "aac"
        samples = sum(frame.samples for frame in container.decode(audio=0))
    assert samples / 48_000 == pytest.approx(1.52, abs=0.1)


@pytest.mark.parametrize("form", ["h264 mkv", "turned by 90", "odd size"])
def test_nv12_pictures_of_a_hardware_decoder_give_the_same_clip(tmp_path, monkeypatch, form):
    suffix, options = FORMS[form]
    source = write_raw(tmp_path / f"raw{suffix}", **options)
    span = {"start_s": Fraction(1, 5), "end_s": Fraction(1)}
    timeline = encode_segment(source, tmp_path / "cpu.mp4", **span, **FAST)
    monkeypatch.setattr(segments, "decode_frames", lambda *args: map(as_nv12, decode_frames(*args)))
    assert encode_segment(source, tmp_path / "gpu.mp4", **span, **FAST) == timeline
    assert (tmp_path / "gpu.mp4").read_bytes() == (tmp_path / "cpu.mp4").read_bytes()


def as_nv12(frame):
    """What PyAV gives of a picture that was decoded on a GPU."""
    return frame.reformat(format="nv12")


def test_software_decodes_where_a_hardware_decoder_fails(tmp_path, monkeypatch):
    source, asked = write_raw(tmp_path / "raw.mp4"), []

    def no_gpu(path, *, hwaccel=None):
        asked.append(hwaccel)
        if hwaccel:
            raise VideoError("cannot be read: out of memory")
        return open_video(path)

    monkeypatch.setattr(segments, "open_video", no_gpu)
    encoder = dataclasses.replace(FAST["encoder"], hwaccel="cuda")
    encode_segment(source, tmp_path / "clip.mp4", end_s=Fraction(1), encoder=encoder)
    assert asked == ["cuda", None]
    monkeypatch.undo()
    assert frame_numbers(tmp_path / "clip.mp4") == list(range(25))


@pytest.mark.parametrize("pix_fmt", ["yuvj420p", "yuvj422p"])
def test_full_range_pictures_are_converted_to_limited_range(tmp_path, pix_fmt):
    """Cameras and phones make them; a clip of yuvj420p would not be plain."""
    source = tmp_path / "raw.mp4"
    with av.open(str(source), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, pix_fmt
        stream.codec_context.color_range = ColorRange.JPEG
        frame = av.VideoFrame(64, 48, pix_fmt)
        frame.color_range = ColorRange.JPEG
        for value, plane in zip((250, 128, 128), frame.planes, strict=True):
            plane.update(bytes([value]) * plane.buffer_size)
        container.mux([*stream.encode(frame), *stream.encode(None)])
    encode_segment(source, tmp_path / "clip.mp4", **FAST)
    assert probe(tmp_path / "clip.mp4").is_plain
    with av.open(str(tmp_path / "clip.mp4")) as container:
        (frame,) = container.decode(video=0)
        assert frame.to_ndarray()[0, 0] == pytest.approx(16 + 250 * 219 / 255, abs=2)


def test_damage_that_players_conceal_is_an_error(tmp_path):
    source = write_raw(tmp_path / "raw.mp4", damage="bytes", duration_s=4)
    for read in (
        lambda: decode_file(source),
        lambda: encode_segment(source, tmp_path / "clip.mp4", **FAST),
    ):
        with pytest.raises(VideoError, match=r"cannot be decoded|damaged"):
            read()


def test_bytes_after_the_last_macroblock_of_a_slice_are_damage(tmp_path):
    source, damaged = tmp_path / "raw.mp4", tmp_path / "damaged.mp4"
    write_clip(source, grey=range(0, 120, 10))  # x264's ultrafast preset: CAVLC, where a slice's end is exact
    with av.open(str(source)) as container, av.open(str(damaged), "w") as output:
        stream = container.streams.video[0]
        target = output.add_stream_from_template(stream)
        for number, packet in enumerate(packet for packet in container.demux(stream) if packet.size):
            if number == 5:  # a packet of one NAL unit, after four bytes that say how long it is
                unit = bytes(packet)[4:] + b"\x55" * 4
                longer = av.Packet(len(unit).to_bytes(4, "big") + unit)
                longer.pts, longer.dts, longer.duration = packet.pts, packet.dts, packet.duration
                longer.time_base, packet = packet.time_base, longer
            packet.stream = target
            output.mux(packet)
    assert len(decode_file(source).timeline.times) == 12
    with pytest.raises(VideoError, match=r"cannot be decoded after 0\.160 s"):
        decode_file(damaged)


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_avi_with_b_frames_has_the_constant_rate_of_its_header(tmp_path, monkeypatch, codec):
    monkeypatch.setitem(raw_files._OPTIONS, codec, {**raw_files._OPTIONS[codec], "bf": "2"})
    source, clip = write_raw(tmp_path / "raw.avi", codec=codec, duration_s=7), tmp_path / "clip.mp4"
    meant = tuple(Fraction(i, 25) for i in range(175))
    assert decode_file(source).timeline == Timeline(meant, Fraction(7))
    assert encode_segment(source, clip, **FAST).times == meant
    assert frame_numbers(clip) == list(range(175))
    write_raw(tmp_path / "short.avi", codec=codec, duration_s=0.08)
    assert len(decode_file(tmp_path / "short.avi").timeline.times) == 2
    for first in (3, 140):  # the second one is far enough for a seek
        span = {"start_s": Fraction(first, 25), "end_s": Fraction(first + 20, 25)}
        assert encode_segment(source, clip, **span, **FAST).times == meant[first : first + 20]
        assert frame_numbers(clip) == list(range(first, first + 20))


def test_packed_b_frames_of_divx_and_xvid_are_cut_exactly(tmp_path, monkeypatch):
    """A packet holds a frame and the B-frame shown before it; an empty frame stands where that would be."""
    monkeypatch.setitem(raw_files._OPTIONS, "mpeg4", {**raw_files._OPTIONS["mpeg4"], "bf": "2"})
    source, packed = write_raw(tmp_path / "raw.avi", codec="mpeg4"), tmp_path / "packed.avi"
    with av.open(str(source)) as container, av.open(str(packed), "w") as output:
        stream = container.streams.video[0]
        target = output.add_stream_from_template(stream)
        frames = [bytes(packet) for packet in container.demux(stream) if packet.size]
        start = b"\0\0\1\xb6"  # of a frame; two bits follow that are 2 for a B-frame
        is_b = [frame[frame.index(start) + 4] >> 6 == 2 for frame in frames]
        written = [b"\0\0\1\xb2DivX503b1393p" + frames[0]]  # with the mark of this form
        for i, frame in enumerate(frames[1:], start=1):
            if is_b[i] and not is_b[i - 1]:
                written[-1] += frame
            else:
                written.append(frame)
            if is_b[i] and not any(is_b[i + 1 : i + 2]):
                written.append(start + b"\x50\0\0")
        for number, data in enumerate(written):
            packet = av.Packet(data)
            packet.pts = packet.dts = number
            packet.time_base, packet.stream = Fraction(1, 25), target
            output.mux(packet)
    with av.open(str(packed)) as container:
        guessed = [frame.pts for frame in container.decode(video=0)]
    assert guessed[:7] == [1, 2, 4, 3, 5, 7, 6]  # by FFmpeg
    meant = tuple(Fraction(i, 25) for i in range(50))
    assert decode_file(packed).timeline.times == meant
    span = {"start_s": Fraction(13, 25), "end_s": Fraction(30, 25)}
    assert encode_segment(packed, tmp_path / "clip.mp4", **span, **FAST).times == meant[13:30]
    assert frame_numbers(tmp_path / "clip.mp4") == list(range(13, 30))


def test_time_stamps_that_run_back_are_an_error(tmp_path):
    source, wrong = write_raw(tmp_path / "raw.mp4", codec="mpeg4"), tmp_path / "wrong.mp4"
    with av.open(str(source)) as container, av.open(str(wrong), "w") as output:
        stream = container.streams.video[0]
        target = output.add_stream_from_template(stream)
        for packet in [packet for packet in container.demux(stream) if packet.size]:
            if packet.pts * packet.time_base == Fraction(10, 25):  # shown after the three frames behind it
                packet.pts += round(Fraction(7, 50) / packet.time_base)
            packet.stream = target
            output.mux(packet)
    for read in (lambda: decode_file(wrong), lambda: encode_segment(wrong, tmp_path / "clip.mp4", **FAST)):
        with pytest.raises(VideoError, match="time stamps that do not rise"):
            read()


def test_an_intact_segment_of_a_damaged_file_is_cut(tmp_path):
    source = write_raw(tmp_path / "raw.mp4", damage="bytes", duration_s=8)
    encode_segment(source, tmp_path / "clip.mp4", end_s=Fraction(1), **FAST)
    assert frame_numbers(tmp_path / "clip.mp4") == list(range(25))


def test_the_error_for_a_segment_after_the_end_has_both_times(tmp_path):
    source = write_raw(tmp_path / "raw.mp4")
    with pytest.raises(VideoError, match=r"ends at 2\.000 s, but the segment starts at 4\.000 s"):
        encode_segment(source, tmp_path / "clip.mp4", start_s=Fraction(4), end_s=Fraction(5), **FAST)


def test_a_segment_between_two_frames_is_an_error(tmp_path):
    source = write_raw(tmp_path / "raw.mp4", fps=Fraction(10))
    with pytest.raises(VideoError, match="shows no new frame"):
        encode_segment(source, tmp_path / "c.mp4", start_s=Fraction(1, 50), end_s=Fraction(2, 50), **FAST)


@pytest.mark.parametrize("is_yuv420p", [False, True])
def test_reordered_frames_of_avi_are_not_copied(tmp_path, is_yuv420p):
    """Their display times are only guessed, and a parser finds that the pictures have another order."""
    source = write_raw(tmp_path / "raw.avi", fps=Fraction(25))
    with pytest.raises(VideoError, match="does not say when its reordered frames are displayed"):
        copy_video(source, tmp_path / "clip.mp4", is_yuv420p=is_yuv420p)
