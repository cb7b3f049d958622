"""Task arithmetic."""

from __future__ import annotations

from merge_core.methods.declaration import method
from merge_core.methods.operations import weighted_mean
from merge_core.methods.parameters import Normalize, Scale, Vectors, Weight


@method(title="Task arithmetic", reference="Ilharco et al. 2023, arXiv:2212.04089")
def task_arithmetic(
    tau: Vectors, *, weight: Weight, normalize: Normalize = False, lambda_: Scale = 1.0
) -> Vectors:
    """Add the weighted sum of the task vectors to the base."""
    total = float(weight.sum())
    divisor = (
        total if normalize and abs(total) >= 1e-8 else 1.0
    )  # as mergekit: weights that cancel divide by 1
    return weighted_mean(tau, weight * lambda_, divisor)
