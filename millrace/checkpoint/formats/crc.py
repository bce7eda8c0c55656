"""The CRC-32 of zip files, by Intel's ISA-L where the package `isal` is installed, else by zlib: the same sums."""

from __future__ import annotations

try:
    from isal.isal_zlib import crc32
except ImportError:
    from zlib import crc32

__all__ = ["crc32"]
