"""``input.html``: clips as the network gets them, written by ``python train.py show=true``."""
