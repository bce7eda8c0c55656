"""Every run form of every deployment, as a person meets it: in headless Chromium, in both UIs that Prefect ships."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from millrace.config import find_config, fingerprint_of, load_config
from millrace.errors import MillraceError
from millrace.orchestration.form import settled
from millrace.orchestration.local_api import install_database
from millrace.plugins.loading import plugin_names
from millrace.probing.baselines import baseline_settings
from millrace.probing.judges import judge_settings
from millrace.qa.writers import writer_settings
from tests.e2e.services import Server

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is in the extra `test`")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.flow,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]

DEPLOYMENTS = ["checkpoint", "compare", "filtering", "full", "improve", "probing", "qa", "synthesis", "training"]
TWO_SCREENS = 2 * 1080
"""How high the form of the main flow may be, in pixels."""
UIS = {"v1": "", "v2": "/v2"}
PLUGINS = [
    ("probing", "baseline", "millrace.probing.baselines", baseline_settings, "embedded"),
    ("probing", "judge", "millrace.probing.judges", judge_settings, "annotation"),
    ("qa", "writer", "millrace.qa.writers", writer_settings, "template"),
]
"""The plug-ins that the form of `full` offers, in its order: section, field, folder, who reads the settings, and the one that is
chosen when the form opens."""


class Browser:
    """Run forms of a Prefect server with every deployment and no worker: what is submitted stays scheduled."""

    def __init__(self, server: Server, context: Any) -> None:
        self.server = server
        self.context = context
        found = server.http.post("/deployments/filter", json={}).json()
        self.deployments = {one["name"]: one["id"] for one in found}

    def open(self, ui: str, deployment: str) -> Any:
        page = self.context.new_page()
        page.set_default_timeout(90_000)
        address = f"{self.server.api.removesuffix('/api')}{UIS[ui]}/deployments/deployment/{self.deployments[deployment]}/run"
        page.goto(address, wait_until="networkidle")
        page.get_by_role("button", name="Submit").last.wait_for()
        assert page.url == address
        return page

    def submit(self, page: Any, deployment: str) -> dict[str, Any] | None:
        """The parameters of the run that the button makes; None: the form was refused.

        A click that lands while the page is drawn anew is lost; a person then clicks again, and so does this.
        """
        before = {run["id"] for run in self.runs(deployment)}
        submit = page.get_by_role("button", name="Submit").last
        for asked in range(225):  # a minute and a half: nothing else tells a refused form from a slow machine
            if asked % 50 == 0 and submit.is_visible() and submit.is_enabled():
                submit.click()
            for run in self.runs(deployment):
                if run["id"] not in before:
                    parameters: dict[str, Any] = run["parameters"]
                    return parameters
            page.wait_for_timeout(400)
        return None

    def shown(self, page: Any) -> str:
        """What the page says, for the message of a test that failed."""
        text: str = page.locator("body").inner_text()
        return text[-3000:]

    def runs(self, deployment: str) -> list[dict[str, Any]]:
        wanted = {"flow_runs": {"deployment_id": {"any_": [self.deployments[deployment]]}}}
        found: list[dict[str, Any]] = self.server.http.post("/flow_runs/filter", json=wanted).json()
        return found


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    folder = tmp_path_factory.mktemp("forms")
    database = folder / "prefect.db"
    install_database(database)
    server = Server(f"sqlite+aiosqlite:///{database}", folder)
    server.env["PREFECT_UI_API_URL"] = server.api
    server.start()
    try:
        server.deploy()
        with sync_api.sync_playwright() as playwright:
            arguments = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
            chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
            yield Browser(server, chromium.new_context(viewport={"width": 1280, "height": 2000}))
            chromium.close()
    finally:
        server.stop()


@pytest.mark.parametrize("ui", UIS)
def test_every_form_can_be_submitted_as_it_opens_and_its_run_takes_what_was_submitted(browser: Browser, ui: str) -> None:
    assert sorted(browser.deployments) == DEPLOYMENTS
    for deployment in DEPLOYMENTS:
        page = browser.open(ui, deployment)
        parameters = browser.submit(page, deployment)
        assert parameters is not None, f"{deployment} in {ui}: the form cannot be submitted as it opens\n{browser.shown(page)}"
        flow = getattr(importlib.import_module(f"flows.{deployment}"), deployment)
        read = flow.validate_parameters(parameters)
        config = settled(flow.definition.name, flow.definition.config, read["config"], read["settings"], read["advanced"])
        same = fingerprint_of(config) == fingerprint_of(type(config)())
        assert same, f"{deployment} in {ui}: submitting the form untouched changes settings"
        page.close()


@pytest.mark.parametrize("ui", UIS)
def test_a_ready_config_is_chosen_by_name_and_a_setting_changed(browser: Browser, ui: str) -> None:
    page = browser.open(ui, "full")
    height = page.evaluate("Math.max(...[...document.querySelectorAll('*')].map(part => part.scrollHeight))")
    assert height <= TWO_SCREENS, f"the form of full is {height} pixels high in {ui}"
    page.get_by_text("default", exact=True).click()
    quick = page.get_by_text("quick", exact=True).last
    if not quick.is_visible():  # the first UI's list opens by a key
        page.keyboard.press("ArrowDown")
    quick.click()
    field = page.locator("input[type=number]").first
    field.fill("7")
    parameters = browser.submit(page, "full")
    assert parameters is not None, f"{ui}\n{browser.shown(page)}"
    flow = importlib.import_module("flows.full").full
    read = flow.validate_parameters(parameters)
    made = settled(flow.definition.name, flow.definition.config, read["config"], read["settings"], read["advanced"])
    quick = load_config(flow.definition.config, find_config("full", Path("quick")))
    assert made.probing.sample_size == 7
    assert made.probing.lake == quick.probing.lake
    assert fingerprint_of(made.qa) == fingerprint_of(quick.qa)
    page.close()


@pytest.mark.parametrize("ui", UIS)
@pytest.mark.parametrize(("section", "field", "package", "read", "open_on"), PLUGINS, ids=[row[1] for row in PLUGINS])
def test_every_plug_in_can_be_chosen_and_submitted(
    browser: Browser, ui: str, section: str, field: str, package: str, read: Any, open_on: str
) -> None:
    for name in (name for name in plugin_names(package) if name != open_on):
        page = browser.open(ui, "full")
        page.get_by_text("every setting", exact=True).click()
        page.get_by_text(name, exact=True).first.wait_for()
        earlier = PLUGINS[: [row[1] for row in PLUGINS].index(field)]
        place = sum(name in plugin_names(row[2]) for row in earlier)
        page.get_by_text(name, exact=True).nth(place).click()
        parameters = browser.submit(page, "full")
        assert parameters is not None, f"{field} '{name}' in {ui} cannot be submitted\n{browser.shown(page)}"
        chosen = parameters["config"][section][field]
        assert chosen["name"] == name
        said = ""
        try:
            read(chosen)
        except MillraceError as error:  # a model's name and address have no default: the flow says so before it starts anything
            said = str(error)
        assert not said or ("endpoint" in said and "\n" not in said)
        page.close()
