"""asl: raw sign-language videos and WLASL metadata in, a trained and honestly measured recogniser out."""

__version__ = "0.1.0"
