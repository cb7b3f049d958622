"""What a merge will do, fully resolved: every number, every source, every output byte's place."""

from merge_core.plan.merge_plan import FLOATS, SHARD_BYTES, MergePlan, TensorPlan, commits_of, make_plan

__all__ = ["FLOATS", "SHARD_BYTES", "MergePlan", "TensorPlan", "commits_of", "make_plan"]
