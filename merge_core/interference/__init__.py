"""Where the task vectors of a merge meet and disagree, exactly, at every density."""

from merge_core.interference.measure import inspect, inspectable
from merge_core.interference.report import InterferenceReport, ModelNorm, PairAgreement, TensorInterference

__all__ = ["InterferenceReport", "ModelNorm", "PairAgreement", "TensorInterference", "inspect", "inspectable"]
