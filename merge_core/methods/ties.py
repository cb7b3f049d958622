"""TIES-Merging: trim, elect sign, disjoint merge."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np

from merge_core.kernels import disjoint
from merge_core.kernels.disjoint import Election
from merge_core.methods.declaration import Field, method
from merge_core.methods.operations import disjoint_merge
from merge_core.methods.parameters import Normalize, PerModel, Scale, Vectors
from merge_core.methods.trimming import Scope, Trimmed, TrimRule
from merge_core.methods.voting import MAJORITY, Voting

UNWEIGHTED_DIALECTS = ("paper", "fusionbench", "sd-mecha")
DIALECTS = ("mergekit", "paper", "peft", "fusionbench", "sd-mecha")

TiesWeight = Annotated[
    PerModel,
    Field(
        "Weight",
        "How much this model counts in the vote and in the mean.",
        per_model=True,
        required=True,
        required_unless=("dialect", UNWEIGHTED_DIALECTS),
    ),
]
Density = Annotated[
    PerModel,
    Field("Keep the largest", "Share of each task vector that is kept, by magnitude.", 0, 1, per_model=True),
]
Rescale = Annotated[
    bool, Field("Rescale", "Multiply what is kept so that its L1 norm is that of the whole task vector.")
]
Dialect = Annotated[
    str, Field("Dialect", "Whose TIES: a preset of trim, election and combination.", choices=DIALECTS)
]
TrimScope = Annotated[
    str,
    Field(
        "Trim within",
        "Rank magnitudes within each tensor or over the whole model.",
        choices=("tensor", "model"),
        words=("Each tensor", "Whole model"),
    ),
]
Elect = Annotated[
    str,
    Field(
        "Elect the sign by",
        "mass: the sum decides; count: one model, one vote; normfrac and normmass: shares of squared norm; "
        "none: no election.",
        choices=("mass", "count", "normfrac", "normmass", "none"),
        words=(
            "mass · the sum decides",
            "count · one model, one vote",
            "normfrac · the largest share of a squared norm",
            "normmass · the sum of such shares",
            "none · no election",
        ),
    ),
]
Combine = Annotated[
    str,
    Field(
        "Combine",
        "What becomes of the entries that agree with the elected sign.",
        choices=("mean", "sum", "max"),
        words=("Mean", "Sum", "Max"),
    ),
]


def _kept_exactly(entries: int, density: float) -> int:
    return entries if density >= 1 else int(density * entries)


def _kept_paper(entries: int, density: float) -> int:
    return min(entries, int(entries * density) + 1)


def _kept_sd_mecha(entries: int, density: float) -> int:
    return entries - max(int((1 - density) * entries), 1) + 1


@dataclass(frozen=True)
class Preset:
    """What a dialect means; see the table in the module `merge_core.methods.ties` is written from.

    Args:
        trim_scope, elect, combine, scale: what stands where a recipe says nothing.
        kept: (entries, density) → how many survive the trim.
        keep_equal: whether all entries equal to the smallest kept one survive with it.
        weigh_votes: whether a model's weight counts in the election, or only in the mean.
        weigh_mean: divide a mean by the weights of those that agree, or by their number.
        tie: the sign elected where the vote is zero; 0 drops the entry.
    """

    trim_scope: Scope
    elect: str
    combine: str
    scale: float
    kept: Callable[[int, float], int]
    keep_equal: bool
    weigh_votes: bool
    weigh_mean: bool
    tie: int


_PAPER = Preset("model", "mass", "mean", 1.0, _kept_paper, True, False, False, MAJORITY)
PRESETS = {
    "mergekit": Preset("tensor", "mass", "mean", 1.0, _kept_exactly, False, True, True, 1),
    "paper": _PAPER,
    "peft": Preset("tensor", "mass", "mean", 1.0, _kept_exactly, False, False, False, 1),
    "fusionbench": replace(_PAPER, combine="sum", scale=0.3),
    "sd-mecha": Preset("tensor", "count", "mean", 1.0, _kept_sd_mecha, True, False, False, 0),
}


def as_dialect(settings: dict[str, Any]) -> dict[str, Any]:
    """`settings`, what the recipe left unsaid filled in from its dialect."""
    preset = PRESETS[settings["dialect"]]
    own = {
        "trim_scope": preset.trim_scope,
        "elect": preset.elect,
        "combine": preset.combine,
        "lambda_": preset.scale,
    }
    return settings | {name: value for name, value in own.items() if settings[name] is None}


def trim_rule(
    *,
    weight: Vectors,
    density: Vectors,
    rescale: bool,
    dialect: str,
    trim_scope: Scope,
    elect: str,
    **_others: Any,
) -> TrimRule:
    """The trim of these settings, and what the election must know about the whole scope."""
    voting = _voting(weight, rescale, dialect, elect)

    def votes(tau: Vectors, trimmed: Trimmed) -> int:
        election = Election(voting.vote, disjoint.COMBINE_SUM, 1)
        ones = np.ones_like(weight)
        return disjoint_merge(tau, trimmed.threshold, _ballot(voting, trimmed), ones, ones, election)[1]

    return TrimRule(
        scope=trim_scope,
        density=density,
        kept=PRESETS[dialect].kept,
        keep_equal=PRESETS[dialect].keep_equal,
        voting=voting,
        moments=voting.asks_moments,
        votes=votes if voting.tie == MAJORITY and elect != "none" else None,
    )


def _voting(weight: Vectors, rescale: bool, dialect: str, elect: str) -> Voting:
    preset = PRESETS[dialect]
    votes = weight if preset.weigh_votes else np.ones_like(weight)
    return Voting(disjoint.VOTES.index(elect), preset.tie, votes, rescale)


def _ballot(voting: Voting, trimmed: Trimmed) -> Vectors:
    return voting.ballot(trimmed.mass, trimmed.kept_mass, trimmed.kept_energy)


@method(title="TIES", reference="Yadav et al. 2023, arXiv:2306.01708", trim=trim_rule, resolve=as_dialect)
def ties(
    tau: Vectors,
    *,
    trimmed: Trimmed,
    weight: TiesWeight = 1.0,
    density: Density = 1.0,
    normalize: Normalize = True,
    lambda_: Scale | None = None,
    rescale: Rescale = False,
    dialect: Dialect = "mergekit",
    trim_scope: TrimScope | None = None,
    elect: Elect | None = None,
    combine: Combine | None = None,
) -> Vectors:
    """Trim each task vector to its largest entries, elect one sign per entry, average those that agree."""
    assert elect is not None  # see `as_dialect`
    assert combine is not None
    preset = PRESETS[dialect]
    how = "sum" if combine == "mean" and not normalize else combine
    combinations = {"sum": disjoint.COMBINE_SUM, "mean": disjoint.COMBINE_MEAN, "max": disjoint.COMBINE_MAX}
    # A majority of exactly 0 leaves γ at 0, and with γ ≤ 0 the paper's code lets the negative entries agree.
    voting = _voting(weight, rescale, dialect, elect)
    tie = (trimmed.majority or -1) if voting.tie == MAJORITY else voting.tie
    election = Election(voting.vote, combinations[how], tie)
    ballot = _ballot(voting, trimmed)
    stretched = weight * voting.stretch(trimmed.mass, trimmed.kept_mass)
    share = weight if preset.weigh_mean else np.ones_like(weight)
    merged, _ = disjoint_merge(tau, trimmed.threshold, ballot, stretched, share, election)
    return merged if lambda_ == 1 else merged * np.float32(lambda_)
