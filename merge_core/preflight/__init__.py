"""Whether models fit together and what merging them asks, found out before any weight is read."""

from merge_core.preflight.verdict import Verdict, bytes_out, examine, examine_each, template_ref

__all__ = ["Verdict", "bytes_out", "examine", "examine_each", "template_ref"]
