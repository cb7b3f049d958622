"""TIES-Merging: trim, elect sign, disjoint merge."""

from __future__ import annotations

from typing import Annotated

from merge_core.methods.declaration import Field, method
from merge_core.methods.parameters import Normalize, Scale, Vectors

UNWEIGHTED_DIALECTS = ("paper", "fusionbench", "sd-mecha")
DIALECTS = ("mergekit", "paper", "peft", "fusionbench", "sd-mecha")

TiesWeight = Annotated[
    float,
    Field(
        "Weight",
        "How much this model counts in the vote and in the mean.",
        per_model=True,
        required=True,
        required_unless=("dialect", UNWEIGHTED_DIALECTS),
    ),
]
Density = Annotated[
    float, Field("Keep the largest", "Share of each task vector that is kept, by magnitude.", 0, 1, per_model=True)
]
Rescale = Annotated[bool, Field("Rescale", "Multiply what is kept so that its L1 norm is that of the whole task vector.")]
Dialect = Annotated[str, Field("Dialect", "Whose TIES: a preset of trim, election and combination.", choices=DIALECTS)]
TrimScope = Annotated[
    str, Field("Trim within", "Rank magnitudes within each tensor or over the whole model.", choices=("tensor", "model"))
]
Elect = Annotated[
    str,
    Field(
        "Elect the sign by",
        "mass: the sum decides; count: one model, one vote; normfrac and normmass: shares of squared norm; none: no election.",
        choices=("mass", "count", "normfrac", "normmass", "none"),
    ),
]
Combine = Annotated[
    str, Field("Combine", "What becomes of the entries that agree with the elected sign.", choices=("mean", "sum", "max"))
]


@method(title="TIES", reference="Yadav et al. 2023, arXiv:2306.01708")
def ties(
    tau: Vectors,
    *,
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
