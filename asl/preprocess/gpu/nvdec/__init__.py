"""Decode H.264 and HEVC with NVDEC, the video decoder of NVIDIA GPUs, through the driver's own library."""
