"""How often the intervals of evaluate.py cover the true value.

    python -m benchmarks.intervals --draws 2000

Each draw is an evaluation of a recogniser whose true accuracy is known: a gloss and a signer move the
log-odds of each clip. Intervals over clips should cover the true accuracy where signers do not matter, those
over signers where they do.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import track
from rich.table import Table

from asl.evaluation.intervals import AVERAGES, Bootstrap, Interval, wilson

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Scenario:
    """An evaluation whose clips are drawn again and again."""

    name: str
    classes: int
    clips: int  # their glosses are drawn, each with the same probability
    signers: int | None = None  # that sign the clips; None: every clip has its own
    signer_effect: float = 0.0  # standard deviation of a signer's log-odds
    class_effect: float = 1.5  # standard deviation of a gloss's log-odds
    level: float = 0.5  # mean log-odds


SCENARIOS = (
    Scenario("258 clips, 100 glosses, no signer effect", 100, 258),
    Scenario("64 clips, 8 glosses, no signer effect", 8, 64, class_effect=1.0, level=1.0),
    Scenario("2,000 clips, 100 glosses, no signer effect", 100, 2000),
    Scenario("258 clips, 100 glosses, 40 signers", 100, 258, signers=40, signer_effect=0.5),
    Scenario("258 clips, 100 glosses, 40 signers, strong effect", 100, 258, signers=40, signer_effect=1.0),
    Scenario("400 clips, 20 glosses, 20 signers, strong effect", 20, 400, signers=20, signer_effect=1.0),
    Scenario("64 clips, 8 glosses, 10 signers, strong effect", 8, 64, signers=10, signer_effect=1.0),
)


def cover(scenario: Scenario, *, draws: int, resamples: int, seed: int) -> dict[str, float]:
    """The share of draws in which each interval covers the true value.

    Args:
        scenario: what is drawn.
        draws: how many evaluations.
        resamples: of each bootstrap.
        seed: of everything.

    Returns:
        Shares by interval: ``wilson``, ``classes``, ``difference`` (over classes), and with signers
        ``instances by signer`` and ``classes by signer``.
    """
    rng = np.random.default_rng(seed)
    gloss = rng.normal(scenario.level, scenario.class_effect, scenario.classes)
    easier = gloss + 0.5  # for a second recogniser
    one, other = (_true_accuracy(odds, scenario.signer_effect) for odds in (gloss, easier))
    true, true_difference = float(one.mean()), float((other - one).mean())  # of all clips there could be
    covered: dict[str, list[bool]] = defaultdict(list)

    def note(name: str, interval: Interval, true: float) -> None:
        covered[name].append(interval[0] <= true <= interval[1])

    for draw in track(range(draws), scenario.name, transient=True):
        count = scenario.clips
        classes = rng.integers(scenario.classes, size=count)
        signers = np.arange(count) if scenario.signers is None else rng.integers(scenario.signers, size=count)
        effect = rng.normal(0, scenario.signer_effect, int(signers.max()) + 1)[signers]
        luck = rng.random(count)  # of a clip, for both recognisers
        hits = luck < _share(gloss[classes] + effect)
        by_clip = Bootstrap(classes, resamples=resamples, seed=draw)
        note("wilson", wilson(int(hits.sum()), count), true)
        note("classes", by_clip.interval(hits, "classes"), true)
        # Two recognisers that fail on the same clips more often than by chance.
        same = np.where(rng.random(count) < 0.7, luck, rng.random(count))
        second = same < _share(easier[classes] + effect)
        note("difference", by_clip.interval(second.astype(int) - hits, "classes"), true_difference)
        if scenario.signers is not None:
            by_signer = Bootstrap(classes, signers, resamples=resamples, seed=draw)
            for over in AVERAGES:
                note(f"{over} by signer", by_signer.interval(hits, over), true)
    return {name: float(np.mean(values)) for name, values in covered.items()}


def _share(log_odds: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    share: npt.NDArray[np.float64] = 1 / (1 + np.exp(-log_odds))
    return share


def _true_accuracy(log_odds: npt.NDArray[np.float64], signer_effect: float) -> npt.NDArray[np.float64]:
    """The accuracy of each gloss over all signers: the mean over the normal distribution of their effect."""
    points, weights = np.polynomial.hermite_e.hermegauss(40)
    shares = _share(log_odds[:, None] + signer_effect * points)
    accuracy: npt.NDArray[np.float64] = shares @ weights / weights.sum()
    return accuracy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--resamples", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    results = {}
    table = Table()
    columns = ("wilson", "classes", "difference", "instances by signer", "classes by signer")
    for column in ("", *columns):
        table.add_column(column)
    for scenario in SCENARIOS:
        shares = cover(scenario, draws=args.draws, resamples=args.resamples, seed=args.seed)
        results[scenario.name] = shares
        table.add_row(scenario.name, *(f"{shares[name]:.1%}" if name in shares else "" for name in columns))
    Console().print(table)
    out = ROOT / "benchmarks" / "out"
    out.mkdir(parents=True, exist_ok=True)
    (out / "intervals.json").write_text(json.dumps({"settings": vars(args), "shares": results}, indent=2))


if __name__ == "__main__":
    main()
