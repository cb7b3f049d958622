"""Every merge method, in the order they are shown. To add one, declare it in a file here and name it below."""

from __future__ import annotations

from merge_core.methods.dare import dare_linear, dare_ties
from merge_core.methods.declaration import Field, Method, Parameter, method
from merge_core.methods.linear import linear
from merge_core.methods.task_arithmetic import task_arithmetic
from merge_core.methods.ties import ties

METHODS: dict[str, Method] = {m.name: m for m in (ties, task_arithmetic, linear, dare_ties, dare_linear)}

__all__ = ["METHODS", "Field", "Method", "Parameter", "method"]
