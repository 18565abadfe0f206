"""A page in the browser, on this machine: a clip or a webcam, the glosses, the frames, and what decided."""
