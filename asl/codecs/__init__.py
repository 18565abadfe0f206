"""Probe, decode, encode and copy videos with FFmpeg, by way of PyAV.

======================  =====================================================================
``video_file``          open and create files; :class:`VideoError`
``timeline``            when frames are displayed, from frames or from packets alone
``probe``               codec, size, rate and orientation of a file
``decoder``             decode a whole file strictly, with thumbnails and pictures
``pictures``            one frame to a thumbnail, a picture or a small RGB array
``clip_format``         filters to upright yuv420p of even size
``segments``            decode the frames of a time span
``encoder``             encoder settings; FFmpeg's log
``encode``, ``audio``   encode a time span as an MP4
``stream_copy``         copy a video into an MP4 without encoding it
``packets``             all packets of a video; segments whose frames another decoder supplies
``camera``              frames of a camera, live
``frame_collector``     small frames on a time grid, for training, from any of these decoders
======================  =====================================================================

Times are exact fractions of a second from the file's first displayed frame. Decoding errors raise
:class:`~asl.codecs.video_file.VideoError`; FFmpeg by default conceals damage and reports success.
"""
