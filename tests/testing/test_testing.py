"""`millrace.testing` as users call it: it finds the kind, says what is not kept and what to do, as a command too."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from millrace.errors import UsageError
from millrace.testing.fakes import powercap_folder, served
from millrace.testing.plugin_under_test import plugin_under_test
from tests.testing.following import blocks_of

ROOT = Path(__file__).parents[2]
OPTION = ("-p", "millrace.testing.pytest_plugin")
"""No entry point does it: pytest would rewrite the assertions of every module of a package that has one."""


def run(cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("PYTEST_XDIST_WORKER", None)
    return subprocess.run(
        [sys.executable, "-m", *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """Writes a module of the user's; its package has a name of its own, so that no test meets another's modules."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(name: str, text: str) -> Path:
        file = tmp_path / f"{name.replace('.', '/')}.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        return file

    return write


def test_both_commands_of_the_pages_check_a_plug_in_in_the_working_folder(tmp_path: Path) -> None:
    for block in blocks_of(ROOT / "docs" / "extending" / "export.md"):
        if block.path == "mine/flashcards.py":
            (tmp_path / "mine").mkdir()
            (tmp_path / block.path).write_text(block.text)
    done = run(tmp_path, "millrace.testing", "synthesis_export:mine.flashcards", "-q")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
    (tmp_path / "mine" / "flashcards.py").write_text(
        "def rows(item, trajectory, tree):\n    item.aliases.append('seen')\n    yield [1]\n"
    )
    done = run(tmp_path, "pytest", *OPTION, "-q", "--pyargs", "millrace.testing", "--plugin", "mine.flashcards")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "a row must be a record or a mapping" in done.stdout
    assert "it changed the item, the trajectory or the tree; copy what you change" in done.stdout


def test_a_plug_in_that_is_not_named_or_not_there_is_one_sentence(tmp_path: Path) -> None:
    done = run(tmp_path, "pytest", *OPTION, "-q", "--pyargs", "millrace.testing")
    assert "name the plug-in to check: --plugin my_package.my_module" in done.stdout + done.stderr
    done = run(tmp_path, "millrace.testing", "no_such_package.thing", "-q")
    assert done.returncode != 0
    assert "there is no module no_such_package; run the command in the folder" in done.stdout + done.stderr


def test_without_pytest_it_says_how_to_get_it(tmp_path: Path) -> None:
    program = (
        "import sys, importlib.util as util\n"
        "find, util.find_spec = util.find_spec, lambda name, *rest: None if name == 'pytest' else find(name, *rest)\n"
        "from millrace.testing.__main__ import main\nsys.exit(main(['mine.thing']))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (2, "checking a plug-in needs pytest: pip install 'millrace[testing]'\n")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("def open_environment(): ...", "environment"),
        ("def open_model(settings, endpoint, shared): ...", "provider"),
        ("class BaselineSettings: ...\ndef open_baseline(settings, *, device): ...", "baseline"),
        ("class JudgeSettings: ...\ndef open_judge(settings): ...", "judge"),
        ("class WriterSettings: ...\ndef open_writer(settings, *, qa, plan): ...", "writer"),
        ("def open_export(folder): ...", "export"),
        ("def rows(item, trajectory, tree): ...", "synthesis_export"),
        ("KIND = None", "annotation_kind"),
        ("PARAMETERS = {}\nMETRICS = ()\ndef build(plan): ...", "workload"),
        ("def open_source(settings): ...", "energy_source"),
        ("def policy_of(config, folder, shard): ...", "policy"),
        ("def open_retriever(texts): ...", "retriever"),
        ("CLAIM = PIPELINE = SLOT = ASPECT = ''\nSUBJECT = {}", "claim_kind"),
    ],
)
def test_the_kind_is_found_from_what_the_module_has(text: str, kind: str, mine: Callable[[str, str], Path]) -> None:
    mine(f"kinds_of_mine.a_{kind}", text)
    assert plugin_under_test(f"kinds_of_mine.a_{kind}").kind == kind
    assert plugin_under_test(f"{kind.replace('_', '-')}:kinds_of_mine.a_{kind}").kind == kind


def test_a_module_of_no_kind_and_a_kind_that_is_not_there_are_told(mine: Callable[[str, str], Path]) -> None:
    mine("kinds_of_mine.nothing", "x = 1")
    with pytest.raises(UsageError, match="has nothing of any kind of plug-in; say which it is to be"):
        plugin_under_test("kinds_of_mine.nothing")
    with pytest.raises(UsageError, match="no kind of plug-in is called 'enviroment'; did you mean 'environment'"):
        plugin_under_test("enviroment:kinds_of_mine.nothing")
    with pytest.raises(UsageError, match="takes a mapping or a"):
        plugin_under_test("environment:kinds_of_mine.nothing", "7")


BROKEN = (
    ("its_verifier_comes_to_the_same_values", "SELECT {op} FROM", "SELECT {op} || '' FROM", r"tool says \d+, the verifier '\d+'"),
    ("its_tools_are_described", '"Looks one thing up about a depot."', '""', "the tool 'look_up' has no description"),
    ("the_same_seed_grows_the_same_tree", "values: {},  # no", "values: {'n': next(COUNT)},  # no", "two different trees"),
    ("its_versions_say", "self.versions = {", "self.versions = {} and {", "`versions` is empty"),
)
NOISE = "\nimport itertools\n\nCOUNT = itertools.count()\n"


@pytest.mark.parametrize(("promise", "right", "wrong", "said"), BROKEN, ids=[case[0] for case in BROKEN])
def test_an_environment_that_breaks_a_promise_is_told_which(
    promise: str, right: str, wrong: str, said: str, mine: Callable[[str, str], Path]
) -> None:
    package = f"broken_{promise}"
    for block in blocks_of(ROOT / "docs" / "extending" / "environment.md"):
        if block.path == "mine/depots.py":
            assert right in block.text
            file = mine(f"{package}.depots", block.text.replace(right, wrong) + NOISE)
        elif block.path == "mine/depots.csv":
            table = block.text
    (file.parent / "depots.csv").write_text(table)
    plugin = plugin_under_test(f"{package}.depots")
    check = next(one for one in plugin.promises if one.__name__.startswith(promise))
    with plugin.opened() as environment, pytest.raises(AssertionError, match=said):
        check(environment)


def test_the_fakes_stand_in_for_a_server_and_for_counters(tmp_path: Path) -> None:
    import httpx

    with served(lambda request: "hello") as url:
        asked = {"model": "model-under-test", "messages": [{"role": "user", "content": "hi"}]}
        reply = httpx.post(f"{url}/chat/completions", json=asked).json()
    assert reply["choices"][0]["message"]["content"] == "hello"
    folder = powercap_folder(tmp_path / "powercap", {"package-0": 5.0, "dram": 1.0})
    plugin = plugin_under_test("energy_source:rapl", f"{{powercap: {folder}}}")
    with plugin.opened() as source:
        assert [domain.name for domain in source.domains] == ["cpu_package:0", "dram:1"]
        for promise in plugin.promises:
            promise(source)
