"""Which system calls code in the sandbox may not make, as a program for the kernel (seccomp).

RLIMIT_NPROC does not hold for root, and a class walk gets past the audit hook: only this keeps a fork bomb from the host's
process table. The owner of a sandbox writes the program, the zygote, which imports nothing of this project, installs it.
"""

from __future__ import annotations

import errno
import struct

BPF_LOAD, BPF_JUMP_EQUAL, BPF_JUMP_AT_LEAST, BPF_RETURN = 0x20, 0x15, 0x35, 0x06
ALLOW, FAIL, KILL = 0x7FFF0000, 0x00050000, 0x80000000
FIRST_X32_CALL = 0x40000000
AUDIT_NUMBERS = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""Of the machines that are known (linux/audit.h)."""
REFUSED_CALLS = {
    "clone": (56, 220), "fork": (57, None), "vfork": (58, None), "clone3": (435, 435), "execve": (59, 221),
    "execveat": (322, 281), "socket": (41, 198), "socketpair": (53, 199), "kill": (62, 129), "tkill": (200, 130),
    "tgkill": (234, 131), "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240), "prlimit64": (302, 261),
    "shmget": (29, 194), "msgget": (68, 186), "semget": (64, 190), "mq_open": (240, 180), "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438), "pidfd_send_signal": (424, 424), "ptrace": (101, 117), "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271), "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "umount2": (166, 39),
    "pivot_root": (155, 41), "bpf": (321, 280), "perf_event_open": (298, 241), "io_uring_setup": (425, 425),
    "userfaultfd": (323, 282), "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218),
    "open_by_handle_at": (304, 265),
}  # fmt: skip
"""What fails with EPERM: the number of each call on the machines above (asm/unistd.h); None where there is no such call."""


def filter_program(machine: str) -> bytes | None:
    """The filter's instructions (struct sock_filter, linux/filter.h); None for a machine that is not known."""
    if machine not in AUDIT_NUMBERS:
        return None
    column = list(AUDIT_NUMBERS).index(machine)
    numbers = sorted(number for call in REFUSED_CALLS.values() if (number := call[column]) is not None)
    instruction = struct.Struct("=HBBI")
    program = [
        instruction.pack(BPF_LOAD, 0, 0, 4),  # seccomp_data.arch
        instruction.pack(BPF_JUMP_EQUAL, 1, 0, AUDIT_NUMBERS[machine]),
        instruction.pack(BPF_RETURN, 0, 0, KILL),
        instruction.pack(BPF_LOAD, 0, 0, 0),  # seccomp_data.nr
        instruction.pack(BPF_JUMP_AT_LEAST, len(numbers) + 1, 0, FIRST_X32_CALL),
    ]
    program += [instruction.pack(BPF_JUMP_EQUAL, len(numbers) - place, 0, number) for place, number in enumerate(numbers)]
    program += [instruction.pack(BPF_RETURN, 0, 0, ALLOW), instruction.pack(BPF_RETURN, 0, 0, FAIL | errno.EPERM)]
    return b"".join(program)
