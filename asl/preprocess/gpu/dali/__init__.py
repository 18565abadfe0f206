"""``trim=dali``: frames for training, made with NVIDIA DALI while the host cuts and proves."""
