"""``input.html``: clips as the network gets them, written before training, or alone by ``show=true``."""
