"""From raw videos and the metadata of a data set to proven clips, decoded frames and a manifest."""

#: What worker processes of preprocessing import, see ``preload`` of :class:`asl.workers.Workers`.
WORKER_MODULES = (
    "asl.preprocess.clips.cut",
    "asl.preprocess.audit.confirm",
    "PIL.JpegImagePlugin",
    "safetensors.numpy",
)

#: The same where a GPU may be used. Those of ``cuda.bindings`` may be missing; importing them uses no GPU.
GPU_WORKER_MODULES = (
    *WORKER_MODULES,
    "asl.preprocess.gpu.nvdec.worker",
    "cuda.bindings.driver",
    "cuda.bindings.nvrtc",
)
