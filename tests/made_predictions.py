"""Make predictions without a network."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from clips import make_clip

from asl.evaluation.predictions import Prediction, make_predictions


def predictions_for(
    labels: Sequence[int],
    probabilities: Sequence[Sequence[float]],
    *,
    signers: Sequence[str] | None = None,
    flags: Sequence[str] | None = None,
    figure: str = "test",
    signers_in_train: Sequence[str] = (),
    sites: dict[str, str] | None = None,
) -> list[Prediction]:
    """Predictions for test clips ``test{label}{number:02d}`` of glosses ``gloss 0``, ``gloss 1``, ..."""

    clips = [
        dataclasses.replace(
            make_clip("test", label, number, gloss=f"gloss {label}"),
            signer_id="" if signers is None else signers[number],
            flags="" if flags is None else flags[number],
        )
        for number, label in enumerate(labels)
    ]
    return make_predictions(
        clips,
        np.asarray(probabilities, np.float64),
        [f"gloss {label}" for label in range(len(probabilities[0]))],
        figure=figure,
        signers_in_train=signers_in_train,
        sites=sites or {},
    )


def random_predictions(
    seed: int, *, clips: int = 60, classes: int = 12, num_signers: int = 6, skill: float = 2.0
) -> list[Prediction]:
    """Predictions of a network that is right more often than not. The clips do not depend on ``skill``."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=clips)
    signers = ["" if signer < 0 else str(signer) for signer in rng.integers(-1, num_signers, size=clips)]
    flags = rng.choice(["", "", "", "suspect", "leakage"], size=clips)
    logits = rng.normal(size=(clips, classes))
    logits[np.arange(clips), labels] += skill
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return predictions_for(
        labels.tolist(),
        probabilities.tolist(),
        signers=signers,
        flags=flags.tolist(),
        signers_in_train=["0", "1", "2"],
    )
