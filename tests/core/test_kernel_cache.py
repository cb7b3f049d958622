"""Compiled kernels are kept on disk, and never outlive their sources."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import merge_core

ASK = """
import numpy as np
from merge_core.kernels import compilation, rank
values = np.array([1, -2, 2, 3], np.float32)
found = np.zeros((2, 1), np.int64)
rows = np.array([values.ctypes.data], np.int64), np.full(1, 1), False
rank.scan_equals(*rows, 0, 4, values[1:2].view(np.uint32) & 0x7FFFFFFF, found[0])
print(found[0, 0], compilation.compiled_now() > 0)
"""


def ask(folder: Path) -> list[str]:
    command = [sys.executable, "-B", "-c", ASK]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.split()


def test_a_kernel_is_compiled_anew_once_one_that_it_calls_from_another_file_has_changed(
    tmp_path: Path,
) -> None:
    package = Path(merge_core.__file__).parent
    copy = tmp_path / "merge_core"
    shutil.copytree(package / "kernels", copy / "kernels", ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "__init__.py").touch()
    assert ask(tmp_path) == ["2", "True"]
    assert ask(tmp_path) == ["2", "False"]
    called = copy / "kernels" / "vectors.py"
    doubled = called.read_text().replace(
        "out[:] = carray(_pointer(address + 4 * start), n, np.float32)",
        "out[:] = carray(_pointer(address + 4 * start), n, np.float32)[::-1] * 2",
    )
    assert doubled != called.read_text()
    called.write_text(doubled)
    assert ask(tmp_path) == ["1", "True"]  # of 6, 4, −4, 2
