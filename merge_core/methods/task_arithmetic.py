"""Task arithmetic."""

from __future__ import annotations

import numpy as np

from merge_core.kernels.weighted_sum import weighted_sum
from merge_core.methods.declaration import method
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
    merged = np.empty(tau.shape[1], np.float32)
    weighted_sum(tau, weight * lambda_, divisor, merged)
    return merged
