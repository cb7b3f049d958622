"""Compiled kernels are kept on disk, never outlive their sources, and start without a compiler."""

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


# Of the parts that only compiling needs, one that takes long to import.
EVERY = """
import sys
from merge_core.kernels import compilation, warming
warming.warm()
print(compilation.compiled_now(), "numba.np.linalg" in sys.modules)
"""

# One that is compiled quickly.
PEAK = """
import numpy as np
from merge_core.kernels import compilation, dtypes
print(dtypes.peak(np.ones(3, np.float32)) == 0x3F800000, compilation.compiled_now())
"""

BOTH = (
    PEAK
    + """
bits = np.zeros(3, np.uint16)
dtypes.narrow_bf16(np.ones(3, np.float32), bits)
print(bits[0] == 0x3F80, compilation.compiled_now())
"""
)


def ask(folder: Path, script: str = ASK) -> list[str]:
    command = [sys.executable, "-B", "-c", script]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.split()


def copy_of_kernels(folder: Path) -> Path:
    copy = folder / "merge_core" / "kernels"
    shutil.copytree(
        Path(merge_core.__file__).parent / "kernels", copy, ignore=shutil.ignore_patterns("__pycache__")
    )
    (copy.parent / "__init__.py").touch()
    return copy


def test_every_kernel_that_the_cache_holds_starts_without_what_compiling_needs() -> None:
    root = Path(merge_core.__file__).parents[1]
    ask(root, EVERY)
    assert ask(root, EVERY) == ["0", "False"]


def test_a_kernel_is_compiled_after_another_came_from_the_cache(tmp_path: Path) -> None:
    copy_of_kernels(tmp_path)
    assert ask(tmp_path, PEAK) == ["True", "1"]
    assert ask(tmp_path, BOTH) == ["True", "0", "True", "1"]


def test_a_kernel_is_compiled_anew_once_one_that_it_calls_from_another_file_has_changed(
    tmp_path: Path,
) -> None:
    copy = copy_of_kernels(tmp_path)
    assert ask(tmp_path) == ["2", "True"]
    assert ask(tmp_path) == ["2", "False"]
    called = copy / "vectors.py"
    doubled = called.read_text().replace(
        "out[:] = carray(_pointer(address + 4 * start), n, np.float32)",
        "out[:] = carray(_pointer(address + 4 * start), n, np.float32)[::-1] * 2",
    )
    assert doubled != called.read_text()
    called.write_text(doubled)
    assert ask(tmp_path) == ["1", "True"]  # of 6, 4, −4, 2


def test_a_kernel_whose_kept_code_was_cut_off_is_compiled_anew(tmp_path: Path) -> None:
    copy_of_kernels(tmp_path)
    for left in (0, 100):
        assert ask(tmp_path, PEAK) == ["True", "1"]
        for kept in tmp_path.rglob("*.nbc"):
            kept.write_bytes(kept.read_bytes()[:left])
    assert ask(tmp_path, PEAK) == ["True", "1"]
    assert ask(tmp_path, PEAK) == ["True", "0"]
