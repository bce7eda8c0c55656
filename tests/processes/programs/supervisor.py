"""A supervisor to be killed: starts a command from a thread that then ends, prints the pids that matter, and waits.

python supervisor.py PROJECT_ROOT MODE(+cgroup) COMMAND…
"""

import json
import sys
import threading
import time

sys.path.insert(0, sys.argv[1])
from millrace.processes.supervised import supervised

mode, _, cgroup = sys.argv[2].partition("+")
held = []


def start() -> None:
    block = supervised(sys.argv[3:], containment_mode=mode, cgroup=bool(cgroup))
    held.append((block, block.__enter__()))


starter = threading.Thread(target=start)
starter.start()
starter.join()
process = held[0][1]
sys.stdout.write(json.dumps({"guard": process.guard_pid, "inner": process._inner, "mode": process.containment.name}) + "\n")
sys.stdout.flush()
time.sleep(600)
