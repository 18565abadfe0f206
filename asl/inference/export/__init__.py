"""A checkpoint as files that other programs run: ONNX, torch.export, and a model card."""
