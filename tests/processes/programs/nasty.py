"""As nasty as a background can be; each of its processes holds the witness FIFO open: its end of file proves that all are dead.

    python nasty.py FIFO

Ignores TERM, INT and HUP; has a child in its own group, a double-forked daemon in a session of its own, and a hopper that changes
its pid every 10 ms. Writes one `r` into the FIFO for each of the four when it is up.
"""

import os
import signal
import sys
import time

witness = os.open(sys.argv[1], os.O_WRONLY)
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)


def live() -> None:
    os.write(witness, b"r")
    while True:
        time.sleep(60)


if os.fork() == 0:
    live()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        live()
    os._exit(0)
if os.fork() == 0:
    os.setsid()
    os.write(witness, b"r")
    while True:
        time.sleep(0.01)
        if os.fork() != 0:
            os._exit(0)
live()
