"""From raw videos and the metadata of a data set to proven clips, decoded frames and a manifest."""

#: What worker processes of preprocessing import, see ``preload`` of :class:`asl.workers.Workers`.
WORKER_MODULES = ("asl.preprocess.clips.cut", "PIL.JpegImagePlugin", "safetensors.numpy")
