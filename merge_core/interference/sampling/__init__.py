"""Where task vectors disagree, estimated from a declared budget of bytes: no number without its interval."""

from merge_core.interference.sampling.preview import inspect_sample, plan_without_download

__all__ = ["inspect_sample", "plan_without_download"]
