"""Models as they are stored: tensors described by their headers, read where they lie."""

from merge_core.checkpoint.checkpoint import Checkpoint, Streamed
from merge_core.checkpoint.local import open_folder
from merge_core.checkpoint.safetensors import TensorSpec, build_header, parse_header

__all__ = ["Checkpoint", "Streamed", "TensorSpec", "build_header", "open_folder", "parse_header"]
