"""Take the pictures in docs/screenshots/ from a served Millrace: the form, a run going on, what it leaves.

    make serve
    python docs/screenshots.py [--url http://127.0.0.1:4200] [--out docs/screenshots]

Starts `full` as a person does, with "Quick run", and follows it in headless Chromium to its end. Needs the extra `screenshots`
(Playwright) and a Chromium of the system (`--chromium`).
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

LIMIT_S = 900.0
"""The main job takes two to three minutes on two cores, its first time on a busy machine several times that."""


def main() -> int:
    """Take all pictures; exit code 0 when the run ended well."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--url", default="http://127.0.0.1:4200", help="where the UI is")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "screenshots", help="folder for the pictures")
    parser.add_argument("--flow", default="full", help="the deployment to run")
    parser.add_argument("--chromium", default=shutil.which("chromium") or shutil.which("google-chrome"), help="the browser")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=options.chromium, args=["--no-sandbox", "--disable-quic"])
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        page.set_default_timeout(60_000)
        deployment = read(options.url, f"deployments/name/{options.flow}/{options.flow}")["id"]

        def picture(name: str, path: str, height: int = 1000, tab: str = "") -> None:
            page.set_viewport_size({"width": 1280, "height": height})
            page.goto(f"{options.url}/{path}", wait_until="networkidle")
            if tab:
                page.get_by_text(tab, exact=True).last.click()
            page.wait_for_timeout(2000)
            page.screenshot(path=options.out / f"{name}.png")

        picture("deployments", "deployments", 800)
        picture("form", f"deployments/deployment/{deployment}/run", 1500)
        page.goto(f"{options.url}/deployments/deployment/{deployment}", wait_until="networkidle")
        before = runs_of(options.url, deployment)
        page.get_by_role("button", name="Run", exact=True).first.click()
        page.get_by_text("Quick run").first.click()
        run = wait_for_run(options.url, deployment, before)
        wait_for_tasks(options.url, run)
        picture("running", f"runs/flow-run/{run}")
        picture("running-artifacts", f"runs/flow-run/{run}", 1200, "Artifacts")
        state = wait_for_end(options.url, run)
        picture("finished", f"runs/flow-run/{run}")
        picture("finished-artifacts", f"runs/flow-run/{run}", 1200, "Artifacts")
        for artifact in read(options.url, "artifacts/latest/filter", {"flow_runs": {"id": {"any_": [run]}}}):
            if artifact["type"] == "table":  # the others name folders of this machine
                picture(f"artifact-{artifact['key']}", f"artifacts/artifact/{artifact['latest_id']}", 1400)
        body = {"sort": "START_TIME_DESC", "limit": 1, "flow_runs": {"name": {"like_": "qa in"}}}
        picture("shards", f"runs/flow-run/{read(options.url, 'flow_runs/filter', body)[0]['id']}", 1200, "Task Runs")
        browser.close()
    print(f"{options.flow} ended as {state}; pictures in {options.out}")  # noqa: T201 - the command's answer
    return 0 if state == "COMPLETED" else 1


def read(url: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """What the server's API answers."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{url}/api/{path}", data, {"Content-Type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=30) as reply:  # noqa: S310 - the user's own server
        return json.loads(reply.read())


def runs_of(url: str, deployment: str) -> dict[str, str]:
    """The deployment's runs: id → type of state."""
    found = read(url, "flow_runs/filter", {"flow_runs": {"deployment_id": {"any_": [deployment]}}})
    return {run["id"]: run["state_type"] for run in found}


def wait_for_run(url: str, deployment: str, before: dict[str, str]) -> str:
    """The id of the deployment's run that was not there before, once it is running."""
    for _ in wait():
        for run, state in runs_of(url, deployment).items():
            if run not in before and state not in ("SCHEDULED", "PENDING"):
                return run
    raise AssertionError


def wait_for_tasks(url: str, run: str) -> None:
    """Return when a progress artifact of the run moves, or the run is over."""
    for _ in wait():
        shown = read(
            url, "artifacts/filter", {"flow_runs": {"id": {"any_": [run]}}, "artifacts": {"type": {"any_": ["progress"]}}}
        )
        if any(5 < float(artifact["data"]) < 95 for artifact in shown):
            return
        if read(url, f"flow_runs/{run}")["end_time"]:
            return


def wait_for_end(url: str, run: str) -> str:
    """The type of the state that the run ends in."""
    for _ in wait():
        found = read(url, f"flow_runs/{run}")
        if found["end_time"]:
            return str(found["state_type"])
    raise AssertionError


def wait() -> Any:
    """Counts the seconds up to the limit."""
    began = time.monotonic()
    while time.monotonic() - began < LIMIT_S:
        yield time.monotonic() - began
        time.sleep(1.0)
    sys.exit(f"it took longer than {LIMIT_S:.0f} s")


if __name__ == "__main__":
    sys.exit(main())
