"""Task arithmetic."""

from __future__ import annotations

from merge_core.methods.declaration import method
from merge_core.methods.operations import sum_of, weighted_mean
from merge_core.methods.parameters import Normalize, Scale, Vectors, Weight


@method(title="Task arithmetic", reference="Ilharco et al. 2023, arXiv:2212.04089")
def task_arithmetic(
    tau: Vectors, *, weight: Weight, normalize: Normalize = False, lambda_: Scale = 1.0
) -> Vectors:
    """Add the weighted sum of the task vectors to the base."""
    return weighted_mean(tau, weight * lambda_, sum_of(weight) if normalize else 1.0)
