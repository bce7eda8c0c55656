"""What HEALTHCHECK runs in a container: exit 0 when MILLRACE_HEALTH_URL answers with 200, or names nothing; 1 otherwise."""

from __future__ import annotations

import os
import sys
import urllib.request


def main() -> int:
    """Ask once; returns the exit code."""
    url = os.environ.get("MILLRACE_HEALTH_URL")
    if not url:
        return 0
    try:
        with urllib.request.urlopen(url, timeout=8) as answer:  # noqa: S310 - set in compose.yaml
            return 0 if answer.status == 200 else 1
    except OSError as error:
        print(f"{url}: {error}", file=sys.stderr)  # noqa: T201 - `docker inspect` shows it
        return 1


if __name__ == "__main__":
    sys.exit(main())
