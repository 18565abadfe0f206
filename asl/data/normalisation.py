"""Mean and standard deviation of each channel with which networks were pretrained, for pixels in [0, 1]."""

from __future__ import annotations

# torchvision's preset for its Kinetics-400 video ResNets and S3D:
# torchvision/transforms/_presets.py, class VideoClassification.
KINETICS_MEAN = (0.43216, 0.394666, 0.37645)
KINETICS_STD = (0.22803, 0.22145, 0.216989)
