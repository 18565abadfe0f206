"""Encode the sound of a time span as AAC."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import OutputContainer
from av.filter import Graph

from asl.codecs.video_file import VideoError, error_text, open_video


def encode_audio(source: Path, output: OutputContainer, *, start_s: Fraction, duration_s: Fraction) -> None:
    """Fill the output's audio stream with the sound of a time span.

    Args:
        source: a file with sound.
        output: a container with an AAC stream.
        start_s: seconds by the source's own clock, not from its first frame.
        duration_s: seconds.

    Raises:
        VideoError: the sound cannot be decoded.
    """
    begin, end = float(start_s), float(start_s + duration_s)
    target = output.streams.audio[0]
    with open_video(source) as container:
        sound = container.streams.audio[0]
        graph = Graph()
        nodes = [
            graph.add_abuffer(template=sound),
            graph.add("atrim", f"start={begin}:end={end}"),
            graph.add("asetpts", "PTS-STARTPTS"),
            graph.add("aformat", "sample_fmts=fltp"),
            graph.add("asetnsamples", "1024:p=0"),  # samples of an AAC frame
            graph.add("abuffersink"),
        ]
        graph.link_nodes(*nodes).configure()

        def encode_filtered() -> None:
            while True:
                try:
                    frame: Any = graph.pull()
                except (av.BlockingIOError, av.EOFError):
                    return
                frame.time_base = Fraction(1, frame.sample_rate)
                for packet in target.encode(frame):
                    output.mux(packet)

        try:
            container.seek(int(begin * av.time_base))
            for frame in container.decode(sound):
                if frame.time is not None and frame.time > end:
                    break
                graph.push(frame)
                encode_filtered()
            graph.push(None)
            encode_filtered()
        except av.FFmpegError as error:
            raise VideoError(f"its sound cannot be decoded: {error_text(error)}") from None
        for packet in target.encode(None):
            output.mux(packet)
