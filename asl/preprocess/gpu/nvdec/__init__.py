"""``trim=nvdec``: clips made with NVDEC, the video decoder of NVIDIA GPUs, through the driver's own library.

==================  ======================================================================
``accelerator``     the processes of each GPU, and the way of a clip through them
``work``            which clips a GPU is given, together and in which order
``worker``          what these processes run
``candidate``       a clip that is made and not yet proven; whole clips
``segments``        clips that are segments of a source
``clip_decoder``    decode a stream, with small pictures of its frames
``pictures``        the kernels that make these pictures (``pictures.cu``)
``decoder``         decode clips one after another with one session
``session``         a session of NVDEC
``stream_format``   which streams are decoded
``cuvid``           structures and functions of ``libnvcuvid``
``trial``           how fast GPUs and cores are, for ``trim=auto``
==================  ======================================================================
"""
