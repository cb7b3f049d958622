"""DARE: drop entries of each task vector at random, and rescale what stays."""

from __future__ import annotations

from typing import Annotated

import numpy as np

from merge_core.kernels import disjoint
from merge_core.kernels.disjoint import Election
from merge_core.methods.declaration import Field, method
from merge_core.methods.drawing import Draw
from merge_core.methods.operations import disjoint_merge, drop, sum_of, weighted_mean
from merge_core.methods.parameters import Normalize, PerModel, Scale, Vectors, Weight

Density = Annotated[
    PerModel,
    Field("Keep at random", "Share of each task vector's entries that is kept.", 0, 1, per_model=True),
]
Rescale = Annotated[bool, Field("Rescale", "Divide what is kept by the share that is kept.")]
Seed = Annotated[
    int, Field("Seed", "Another number draws other entries; the same one draws the same.", 0, 2**31 - 1)
]


@method(title="DARE", reference="Yu et al. 2024, arXiv:2311.03099")
def dare_linear(
    tau: Vectors,
    *,
    draw: Draw,
    weight: Weight,
    density: Density = 1.0,
    rescale: Rescale = True,
    normalize: Normalize = False,
    lambda_: Scale = 1.0,
    seed: Seed = 0,
) -> Vectors:
    """Drop entries of each task vector at random, rescale the others, and add their weighted sum to the base."""
    kept = _dropped(tau, draw, seed, density, rescale)
    return weighted_mean(kept, weight * lambda_, sum_of(weight) if normalize else 1.0)


@method(title="DARE TIES", reference="Yu et al. 2024, arXiv:2311.03099")
def dare_ties(
    tau: Vectors,
    *,
    draw: Draw,
    weight: Weight,
    density: Density = 1.0,
    rescale: Rescale = True,
    normalize: Normalize = False,
    lambda_: Scale = 1.0,
    seed: Seed = 0,
) -> Vectors:
    """Drop entries of each task vector at random, rescale the others, elect one sign per entry, add what agrees."""
    kept = _dropped(tau, draw, seed, density, rescale)
    combine = disjoint.COMBINE_MEAN if normalize else disjoint.COMBINE_SUM
    all_of_it = np.zeros(weight.size, np.uint32)
    election = Election(disjoint.VOTE_MASS, combine, 1)
    merged, _ = disjoint_merge(kept, all_of_it, weight, weight, weight, election)
    return merged if lambda_ == 1 else merged * np.float32(lambda_)


def _dropped(tau: Vectors, draw: Draw, seed: int, density: Vectors, rescale: bool) -> Vectors:
    """The task vectors without what fell; rescaled, their expected values stay (Yu et al. 2024, section 3)."""
    scale = 1 / np.where(density > 0, density, 1.0) if rescale else np.ones_like(density)
    return drop(tau, draw.keys(seed), draw.start, density, scale)
