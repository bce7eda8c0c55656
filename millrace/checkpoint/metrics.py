"""What a load did and how long it took."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class ReadMetrics:
    """The figures of one `read_data`, one rank's share.

    Times are wall clock on the calling thread: `plan_s` (finding items, checking files, first heads), `read_s` (from the first
    byte to the last commit), of which `resolve_s` was spent in the planner. `copy_s` is summed over the threads.
    """

    payload_bytes: int = 0
    """Tensor and byte-item bytes that were asked for."""
    read_bytes: int = 0
    """Bytes taken from files, heads and skipped gaps included."""
    items: int = 0
    fast_items: int = 0
    """Read straight into the destination's memory."""
    staged_items: int = 0
    """Read by this engine through staging memory: another dtype, device, or tiny strided runs."""
    stock_items: int = 0
    """Read by torch's own code."""
    byte_items: int = 0
    skipped: dict[str, str] = field(default_factory=dict)
    """Values that were left as they were, and why: their unpickling could run foreign code."""
    stock_reasons: Counter[str] = field(default_factory=Counter)
    """Why items took torch's own path, and how many for each reason."""
    threads: int = 0
    seconds: float = 0.0
    metadata_s: float = 0.0
    plan_s: float = 0.0
    check_s: float = 0.0
    """The CRC pass of `verify="crc"`."""
    read_s: float = 0.0
    resolve_s: float = 0.0
    copy_s: float = 0.0
    cold_files: int = 0
    """Files that were not in the page cache at the start."""

    @property
    def gigabytes_per_second(self) -> float:
        """Payload over the time in `read_data`; 1 GB is 10⁹ bytes."""
        return self.payload_bytes / self.seconds / 1e9 if self.seconds else 0.0

    def line(self) -> str:
        """One sentence for a log."""
        paths = f"{self.fast_items} direct, {self.staged_items} staged, {self.byte_items} bytes, {self.stock_items} by torch"
        reasons = "".join(f"; {count} by torch: {reason}" for reason, count in sorted(self.stock_reasons.items()))
        speed = f"{self.payload_bytes / 1e6:.1f} MB in {self.seconds:.3f} s = {self.gigabytes_per_second:.2f} GB/s"
        times = f"plan {self.plan_s:.3f} s, check {self.check_s:.3f} s, read {self.read_s:.3f} s"
        return f"{speed}, {self.threads} threads, {self.items} items ({paths}); {times}{reasons}"
