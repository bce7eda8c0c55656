"""What the tests of this folder need: a GPU that torch sees. On any other machine they are skipped with that reason.

`MILLRACE_GPU_TESTS_ON=cpu` runs those that can on the CPU instead: whether the tests themselves are right can be seen anywhere.
"""

from __future__ import annotations

import os

import pytest
import torch

DEVICE = os.environ.get("MILLRACE_GPU_TESTS_ON", "cuda")
"""Where the tests put things."""

needs_gpu = pytest.mark.skipif(DEVICE == "cuda" and not torch.cuda.is_available(), reason="torch sees no GPU on this machine")
only_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU on this machine")
