"""What stands in for what a machine may lack: a server with a chat model behind it, a CPU's energy counters.

A chat model without a server is the provider `scripted`: `{provider: scripted, options: {script: my_package.module:function}}`.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from millrace.llm.mock_server.faults import FaultPlan
from millrace.llm.mock_server.serve import LocalServer
from millrace.llm.providers.scripted import Script, ScriptedChat, default_reply


@contextlib.contextmanager
def served(script: Script = default_reply, *, name: str = "model-under-test") -> Iterator[str]:
    """An OpenAI-compatible server on this machine, in a thread; gives its base URL.

    Args:
        script: from a `millrace.llm.Request` to a reply or a text; by default something that satisfies the request.
        name: the model that it serves.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True, name="served model")
    thread.start()
    server = LocalServer(ScriptedChat(script, name=name), FaultPlan())
    try:
        yield asyncio.run_coroutine_threadsafe(server.start(), loop).result(30)
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()


def powercap_folder(folder: Path, joules: Mapping[str, float], *, whole_j: float = 262_143.0) -> Path:
    """Energy counters as the kernel shows them, one for each of `joules` ("package-0", "dram"); written anew, they go on.

    Use it as `energy.powercap` of a training config.
    """
    for number, (name, value) in enumerate(joules.items()):
        zone = folder / f"intel-rapl:{number}"
        zone.mkdir(parents=True, exist_ok=True)
        (zone / "name").write_text(f"{name}\n", encoding="ascii")
        (zone / "max_energy_range_uj").write_text(f"{int(whole_j * 1e6)}\n", encoding="ascii")
        (zone / "energy_uj").write_text(f"{int(value * 1e6)}\n", encoding="ascii")
    return folder
