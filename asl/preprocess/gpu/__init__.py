"""What uses an NVIDIA card; ``python -m asl.preprocess.gpu`` says what the card of this machine can do."""
