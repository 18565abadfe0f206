"""Copy a whole video into an MP4 without encoding it."""

from __future__ import annotations

from pathlib import Path

from av.packet import Packet

from asl.codecs.timeline import Timeline, packet_timeline
from asl.codecs.video_file import VideoError, create_mp4, has_display_times, open_video, video_stream


def copy_video(source: Path, target: Path, *, audio: bool = False, is_yuv420p: bool = False) -> Timeline:
    """Copy the packets of a whole video into an MP4; returns when its frames are to be displayed.

    The header alone is checked: what only a decoder finds, such as a rotated picture, is copied as well,
    so decode the result before it is used.

    Args:
        source: the video.
        target: the MP4 to write.
        audio: also copy the first audio stream.
        is_yuv420p: the pixel format is known from probing, and ``header_suffices`` (see
            :class:`asl.codecs.probe.VideoInfo`); then no frame is decoded. The copy is the same.

    Raises:
        VideoError: by its header the video is not H.264, yuv420p and of even size, or it has packets that
            cannot be copied as they are (hidden by an edit list, without a time stamp, marked as damaged,
            reordered in an AVI).
    """
    with open_video(source, decodes_frame=not is_yuv420p) as container, create_mp4(target) as output:
        stream = video_stream(container)
        context = stream.codec_context
        is_even = context.width % 2 == context.height % 2 == 0
        pix_fmt = "yuv420p" if is_yuv420p else context.pix_fmt
        if (context.name, pix_fmt, is_even) != ("h264", "yuv420p", True):
            raise VideoError("cannot be copied as it is")
        if context.has_b_frames and not has_display_times(container):
            raise VideoError("does not say when its reordered frames are displayed")
        streams = [stream, *(container.streams.audio[:1] if audio else ())]
        packets = [packet for packet in container.demux(*streams) if packet.size]
        video_packets = [packet for packet in packets if packet.stream_index == stream.index]
        timeline = packet_timeline(video_packets, stream)  # before muxing, which changes the time stamps
        _fill_dts(video_packets)
        output_streams = {one.index: output.add_stream_from_template(one) for one in streams}
        for packet in packets:
            packet.stream = output_streams[packet.stream_index]
            output.mux(packet)
        return timeline


def _fill_dts(packets: list[Packet]) -> None:
    """Give packets in decoding order the decoding times that Matroska leaves out.

    They are the display times in rising order, moved back as far as reordering needs, so that no packet
    is decoded after its display::

        # displayed at 0 3 1 2 -> decoded at -2 -1 0 1
    """
    if all(packet.dts is not None for packet in packets):
        return
    rising = sorted(packet.pts or 0 for packet in packets)
    shift = max(pts - (packet.pts or 0) for pts, packet in zip(rising, packets, strict=True))
    for pts, packet in zip(rising, packets, strict=True):
        packet.dts = pts - shift
