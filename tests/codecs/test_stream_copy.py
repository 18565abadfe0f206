"""Videos that are copied without encoding."""

import av
from raw_videos import frame_numbers, write_raw

from asl.codecs.decoder import decode_file
from asl.codecs.stream_copy import copy_video
from asl.demo.raw_files import read_times


def test_a_plain_video_is_copied_with_its_packets_and_times(tmp_path):
    source = write_raw(tmp_path / "raw.mkv", fps=None)
    timeline = copy_video(source, tmp_path / "clip.mp4")
    assert frame_numbers(tmp_path / "clip.mp4") == list(range(len(read_times(source))))
    assert decode_file(tmp_path / "clip.mp4").timeline.times == timeline.times == tuple(read_times(source))

    def packets(path):
        with av.open(str(path)) as container:
            return [bytes(packet) for packet in container.demux(video=0) if packet.size]

    assert packets(tmp_path / "clip.mp4") == packets(source)
