"""Whether a new model may take the place of the one in service: the same users, the same moment, side by side.

Quality is compared in pairs, user by user, with a bootstrap over users. A difference counts as a loss only if it is
both larger than what the draw of users explains and larger than what another seed brings (`GateConfig.margin`): an
equal model is not refused for noise, nor called better for it.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from models import metrics
from models.evaluation import Answers, as_served, source_answers
from models.judged_probabilities import Judged
from models.metrics import Values
from models.recommender import Recommender
from models.segments import SegmentConfig
from models.sources.popularity import Popularity
from models.state import UserState

Mask = npt.NDArray[np.bool_]
View = Literal["all", "novel"]
VIEWS: Final[tuple[View, ...]] = ("all", "novel")


@dataclass(frozen=True)
class GateConfig:
    """What a challenger must keep to. Shares are of the champion's figure."""

    k: int = 10
    """Length of the lists that count"""
    margin: float = 0.02
    """A mean NDCG that is lower by less is no loss, and one that is higher by less no improvement: seeds differ by as
    much."""
    segment_margin: float = 0.05
    """The same within a segment, which has fewer users"""
    segment_users: int = 100
    """A segment with fewer users is not judged,"""
    segment_share: float = 0.1
    """nor one with a smaller part of all."""
    coverage: float = 0.5
    """The share of the champion's coverage of the catalogue that must be left"""
    slower: float = 1.5
    """Times the champion's processor time for an answer, at most"""
    answer_s: float = 0.1
    """Processor time of the slowest but one in twenty answers, at most, whatever the champion needs"""
    http_s: float = 0.25
    """An answer of the service over HTTP, the slowest but one in twenty, at most"""
    asked: int = 100
    """Users whose answers are timed"""
    other_values: float = 0.01
    """Share of the values read by logged requests that may differ from the lake's: files bring events late, and feature
    files change"""
    calibration_error: float = 0.05
    """Expected calibration error of a head's probabilities at most,"""
    calibration_worse: float = 0.02
    """or so much above the champion's, whichever is more."""
    resamples: int = 1_000
    seed: int = 7


@dataclass(frozen=True)
class Finding:
    """What one check found."""

    check: str
    passed: bool
    said: str
    """With the figures, for people"""
    figures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Holdout:
    """Whom models are compared on.

    Attributes:
        states: users at the cut, [U].
        truth: user -> what they took after it.
        bought: user -> what they took before it: left out of the truth of "novel".
    """

    states: Sequence[UserState]
    truth: Mapping[str, Collection[str]]
    bought: Mapping[str, Collection[str]]

    def wanted(self, view: View) -> list[set[str]]:
        """[U] what is right, empty for those who are not asked."""
        before = self.bought if view == "novel" else {}
        return [set(self.truth.get(s.user_id, ())) - set(before.get(s.user_id, ())) for s in self.states]


@dataclass(frozen=True)
class Shown:
    """What a model recommends to the users of a holdout."""

    answers: Mapping[View, Answers]

    @classmethod
    def by(cls, recommender: Recommender, holdout: Holdout, k: int) -> Shown:
        """The answers as they are served, but for what rests."""
        return cls({view: as_served(recommender, holdout.states, k, novel=view == "novel") for view in VIEWS})

    @classmethod
    def popular(cls, recommender: Recommender, holdout: Holdout, k: int) -> Shown:
        """What is popular, to everybody: the least that a model must be better than."""
        source = recommender.sources[Popularity.name]
        nothing: list[Collection[str]] = [()] * len(holdout.states)
        had = [holdout.bought.get(state.user_id, ()) for state in holdout.states]
        return cls(
            {
                view: source_answers(recommender, source, holdout.states, had if view == "novel" else nothing, k)
                for view in VIEWS
            }
        )

    def ndcg(self, holdout: Holdout, view: View, k: int) -> Values:
        """[U] NaN for those who are not asked."""
        pairs = zip(self.answers[view], holdout.wanted(view), strict=True)
        return np.array([metrics.ndcg(answer, wanted, k) if wanted else np.nan for answer, wanted in pairs])

    def covers(self) -> int:
        """How many different items anybody is shown."""
        return len({item for answer in self.answers["all"] for item in answer})


@dataclass(frozen=True)
class Compared:
    """A challenger's mean beside a champion's over the same users, with an interval for their difference."""

    users: int
    ours: float
    theirs: float
    low: float
    high: float

    @property
    def difference(self) -> float:
        return self.ours - self.theirs

    def is_worse(self, margin: float) -> bool:
        """Surely lower, and by more than the margin."""
        return self.high < 0.0 and self.difference < -margin * self.theirs

    def is_better(self, margin: float) -> bool:
        """Surely higher, and by more than the margin."""
        return self.low > 0.0 and self.difference > margin * self.theirs

    def __str__(self) -> str:
        """For people."""
        change = f"{self.difference:+.4f} [{self.low:+.4f}, {self.high:+.4f}]"
        return f"NDCG {self.ours:.4f} to {self.theirs:.4f} ({change}) of {self.users:,} users"

    def figures(self) -> dict[str, float]:
        return {"users": self.users, "ours": self.ours, "theirs": self.theirs, "low": self.low, "high": self.high}


def compare(ours: Values, theirs: Values, config: GateConfig = GateConfig(), *, comparisons: int = 1) -> Compared:
    """A paired bootstrap over users; those with NaN are left out.

    Args:
        ours: [U]
        theirs: [U] the same users.
        config: of the resampling.
        comparisons: how many are made at once; the interval is as much wider (Bonferroni).
    """
    asked = ~(np.isnan(ours) | np.isnan(theirs))
    ours, theirs = ours[asked], theirs[asked]
    if not len(ours):
        return Compared(0, 0.0, 0.0, 0.0, 0.0)
    rows = metrics.resampled_rows(len(ours), config.resamples, config.seed)
    difference = ours - theirs
    drawn = np.array([difference[draw].mean() for draw in rows])
    tail = 0.025 / comparisons
    low, high = np.quantile(drawn, [tail, 1.0 - tail])
    return Compared(len(ours), float(ours.mean()), float(theirs.mean()), float(low), float(high))


def quality(ours: Shown, theirs: Shown, holdout: Holdout, config: GateConfig) -> list[Finding]:
    """Overall, for all items and for those not bought before, and in each large segment of the users."""
    found = []
    for view in VIEWS:
        mine, yours = ours.ndcg(holdout, view, config.k), theirs.ndcg(holdout, view, config.k)
        over_all = compare(mine, yours, config)
        found.append(_finding(f"quality, {view} items", over_all, config.margin))
        if view == "novel":
            continue
        large = {name: mask for name, mask in _segments(holdout).items() if _is_large(mask, mine, config)}
        for name, mask in large.items():
            within = compare(mine[mask], yours[mask], config, comparisons=len(large))
            found.append(_finding(f"quality, {name}", within, config.segment_margin))
    return found


def better_than_popular(ours: Shown, popular: Shown, holdout: Holdout, config: GateConfig) -> Finding:
    """A model that ranks as popularity does, or surely worse, has learned nothing; it may be worse by chance."""
    mine, yours = (shown.ndcg(holdout, "all", config.k) for shown in (ours, popular))
    compared = compare(mine, yours, config)
    passed = compared.high > 0.0 and ours.answers["all"] != popular.answers["all"]
    return Finding("better than popularity", passed, str(compared), compared.figures())


def coverage(ours: Shown, theirs: Shown, config: GateConfig) -> Finding:
    """A model that shows everybody the same few items is refused, however often they are right."""
    mine, yours = ours.covers(), theirs.covers()
    passed = mine >= config.coverage * yours
    said = f"{mine:,} different items are shown, {yours:,} by the champion"
    return Finding("coverage", passed, said, {"ours": mine, "theirs": yours})


def calibration(ours: Judged | None, theirs: Judged | None, config: GateConfig) -> Finding:
    """Probabilities that come true as often as they say."""
    if ours is None:
        lost = theirs is not None
        said = "it has no probabilities" + (", the champion has" if lost else "")
        return Finding("calibration", not lost, said)
    errors = {head: figures["ece after"] for head, figures in ours["heads"].items()}
    if lost_heads := sorted(set(theirs["heads"] if theirs else ()) - set(errors)):
        return Finding("calibration", False, f"{', '.join(lost_heads)}: the champion says how likely, it does not")
    said = ", ".join(f"{head} off by {error:.3f}" for head, error in errors.items())
    if theirs is None or min(ours["users"], theirs["users"]) < config.segment_users:
        # The first model is worth having with whatever it says of likelihoods, and a few users say little of them.
        return Finding("calibration", True, f"{said}, beside no champion or for too few users to refuse it", errors)
    allowed = {
        head: max(config.calibration_error, theirs["heads"][head]["ece after"] + config.calibration_worse)
        for head in errors
        if head in theirs["heads"]
    }
    passed = all(errors[head] <= most for head, most in allowed.items())
    most = ", ".join(f"{head} at most {error:.3f}" for head, error in allowed.items())
    return Finding("calibration", passed, f"{said} ({most})", errors)


def latency(ours: Recommender, theirs: Recommender | None, holdout: Holdout, config: GateConfig) -> Finding:
    """Processor time of one answer after the other, both models in turns: a busy machine does not add to it."""
    states = list(holdout.states[: config.asked])
    times: dict[str, list[float]] = {"ours": [], "theirs": []}
    for state in states:
        for name, recommender in (("ours", ours), ("theirs", theirs)):
            if recommender is not None:
                began = time.thread_time()
                recommender.recommend([state], config.k)
                times[name].append(time.thread_time() - began)
    slow = float(np.quantile(times["ours"], 0.95))
    passed = slow <= config.answer_s
    said = f"an answer takes {slow * 1e3:.1f} ms (19 of 20; at most {config.answer_s * 1e3:.0f})"
    figures = {"p95_s": slow}
    if theirs is not None:
        mine, yours = (float(np.median(times[name])) for name in ("ours", "theirs"))
        passed = passed and mine <= config.slower * yours
        said += (
            f", in the median {mine * 1e3:.1f} to the champion's {yours * 1e3:.1f} ms (at most {config.slower:g} times)"
        )
        figures |= {"median_s": mine, "champion_median_s": yours}
    return Finding("latency", passed, said, figures)


def repeats(first: Recommender, again: Recommender, holdout: Holdout, config: GateConfig) -> Finding:
    """The same bundle read twice gives the same answers."""
    states = list(holdout.states[: config.asked])
    one, two = (
        [[(item.item_id, item.score) for item in answer] for answer in model.recommend(states, config.k)]
        for model in (first, again)
    )
    differ = sum(a != b for a, b in zip(one, two, strict=True))
    said = f"read twice, it answers {differ} of {len(states)} users differently"
    return Finding("same answers", differ == 0, said, {"differ": differ})


def _finding(check: str, compared: Compared, margin: float) -> Finding:
    return Finding(check, not compared.is_worse(margin), str(compared), compared.figures())


def _segments(holdout: Holdout) -> dict[str, Mask]:
    """Name -> [U], by how many items a user had to do with at the cut."""
    had = np.array([len(state.own_items) for state in holdout.states])
    parts = SegmentConfig()
    few, many = had < parts.few_events, had > parts.many_events
    return {"new users": few, "regular users": ~few & ~many, "heavy users": many}


def _is_large(mask: Mask, values: Values, config: GateConfig) -> bool:
    asked = ~np.isnan(values)
    count = int((mask & asked).sum())
    return count >= max(config.segment_users, config.segment_share * asked.sum())
