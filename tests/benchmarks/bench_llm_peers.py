"""One run of a peer with its own dependencies, in its own environment, against the same local server.

distilabel and Curator bring several hundred megabytes of dependencies, some of which disagree with ours: they are measured from
environments of their own. This file imports nothing of this project:

    python -m venv /tmp/distilabel && /tmp/distilabel/bin/pip install 'distilabel[openai]' requests
    python -m venv /tmp/curator && /tmp/curator/bin/pip install bespokelabs-curator
    python -m millrace.llm.mock_server --port 8000 --latency-ms 200            # in another terminal, from our own environment
    /tmp/distilabel/bin/python tests/benchmarks/bench_llm_peers.py distilabel --calls 2048 --in-flight 128
    /tmp/curator/bin/python tests/benchmarks/bench_llm_peers.py curator --calls 2048 --in-flight 128

Prints one JSON line: `wall_s` is the whole run with its start-up, `cpu_s` user + system of this process and its children. Read
`most_in_flight`, `requests` and `answered_twice` from the server's `/stats`. README.md says how a share of the ideal
comes of it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from typing import Any


def prompt(number: int) -> str:
    return f"Question {number}: which of these two sentences is true, and why? Answer in one word. " * 4


def run_distilabel(options: argparse.Namespace) -> int:
    from distilabel.models import OpenAILLM  # type: ignore[import-not-found]
    from distilabel.pipeline import Pipeline  # type: ignore[import-not-found]
    from distilabel.steps import LoadDataFromDicts  # type: ignore[import-not-found]
    from distilabel.steps.tasks import TextGeneration  # type: ignore[import-not-found]

    with Pipeline(name="bench") as pipeline:
        load = LoadDataFromDicts(
            data=[{"instruction": prompt(number)} for number in range(options.calls)], batch_size=options.in_flight
        )
        model = OpenAILLM(model="scripted", base_url=options.url, api_key="none")
        load >> TextGeneration(llm=model, input_batch_size=options.in_flight)
    made = pipeline.run(use_cache=False)
    rows = made["default"]["train"]
    return sum(1 for text in rows["generation"] if text)


def run_curator(options: argparse.Namespace) -> int:
    import litellm.litellm_core_utils.tokenizers as bundled  # type: ignore[import-not-found]

    os.environ.setdefault("TIKTOKEN_CACHE_DIR", next(iter(bundled.__path__)))  # its tokenizer comes from the network otherwise
    from bespokelabs import curator  # type: ignore[import-not-found]

    os.environ.setdefault("OPENAI_API_KEY", "none")
    asker = curator.LLM(
        model_name="gpt-4o-mini",  # it wants a name that its price table knows; the server answers to any
        backend="openai",
        backend_params={
            "base_url": options.url,
            "max_concurrent_requests": options.in_flight,
            "max_requests_per_minute": 1_000_000,
            "max_tokens_per_minute": 1_000_000_000,
        },
    )
    made: Any = asker([prompt(number) for number in range(options.calls)])
    dataset = getattr(made, "dataset", made)
    return sum(1 for row in dataset if row.get("response"))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("peer", choices=["distilabel", "curator"])
    parser.add_argument("--url", default="http://127.0.0.1:8000/v1")
    parser.add_argument("--calls", type=int, default=2048)
    parser.add_argument("--in-flight", type=int, default=128)
    options = parser.parse_args()
    os.environ |= {
        "CURATOR_DISABLE_CACHE": "1",
        "TELEMETRY_ENABLED": "0",
        "HF_HUB_OFFLINE": "1",
        "CURATOR_CACHE_DIR": tempfile.mkdtemp(),
    }
    started = time.monotonic()
    kept = {"distilabel": run_distilabel, "curator": run_curator}[options.peer](options)
    wall = time.monotonic() - started
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    told = {
        "peer": options.peer,
        "kept": kept,
        "calls": options.calls,
        "in_flight": options.in_flight,
        "wall_s": round(wall, 2),
        "cpu_s": round(sum(one.ru_utime + one.ru_stime for one in usage), 2),
        "peak_mb": max(one.ru_maxrss for one in usage) // 1024,
    }
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
