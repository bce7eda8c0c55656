"""Puts the sums of data that was filled in later into a `torch.save` archive: torch leaves them out with `skip_data`."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

from millrace.checkpoint.formats.item_heads import LOCAL_HEADER

_CENTRAL = struct.Struct("<4s4B4HL2L5H2L")
_CENTRAL_CRC = 16
_STREAMED = 8


def write_sums(path: Path, sums: Mapping[int, int]) -> None:
    """Write the CRC-32 of stored entries, by the byte offset of their data, where the archive keeps them."""
    with zipfile.ZipFile(path) as archive:
        entries, place = archive.infolist(), archive.start_dir
    with path.open("r+b") as stream:
        for entry in entries:
            stream.seek(entry.header_offset)
            local = LOCAL_HEADER.unpack(stream.read(LOCAL_HEADER.size))
            data = entry.header_offset + LOCAL_HEADER.size + local[-2] + local[-1]
            stream.seek(place)
            central = _CENTRAL.unpack(stream.read(_CENTRAL.size))
            assert central[0] == b"PK\x01\x02", "the directory is in the order of infolist"
            if data in sums and entry.file_size:
                crc = struct.pack("<I", sums[data])
                stream.seek(place + _CENTRAL_CRC)
                stream.write(crc)
                stream.seek(data + entry.file_size)
                if entry.flag_bits & _STREAMED and stream.read(4) == b"PK\x07\x08":
                    stream.write(crc)
                elif not entry.flag_bits & _STREAMED:
                    stream.seek(entry.header_offset + 14)
                    stream.write(crc)
            place += _CENTRAL.size + sum(central[12:15])
