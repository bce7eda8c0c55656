"""Plug-ins are found by file name, dotted path or entry point, and what is wrong with one is a sentence that says what to do."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Protocol

import pytest
from pydantic import BaseModel, create_model

from millrace.cli import main
from millrace.config import parse_config
from millrace.errors import UsageError
from millrace.plugins.contracts import completed, optional
from millrace.plugins.form_fields import SettingsOf
from millrace.plugins.loading import load_plugin, plugin_names, plugin_settings

ROOT = Path(__file__).parents[2]
FOLDERS = {
    "millrace.synthesis.environments": "environment",
    "millrace.synthesis.policies": "policy",
    "millrace.synthesis.exports": "export",
    "millrace.synthesis.families.contract": "family",
    "millrace.synthesis.environments.rag.retrievers": "retriever",
    "millrace.llm.providers": "provider",
    "millrace.probing.baselines": "baseline",
    "millrace.probing.judges": "judge",
    "millrace.qa.writers": "writer",
    "millrace.qa.exports": "export",
    "millrace.training.workloads": "workload",
    "millrace.training.energy": "energy source",
    "millrace.lake.annotations": "annotation kind",
    "millrace.boxes.kinds": "kind of claim",
    "millrace.boxes.verifiers": "verifier",
    "millrace.digits.kinds": "kind of claim",
    "millrace.digits.verifiers": "verifier",
    "millrace.improve.arms": "arm",
    "millrace.improve.trainers": "trainer",
    "millrace.improve.formats": "format",
}
"""Every folder of plug-ins that are modules, and its word in messages."""
every_folder = pytest.mark.parametrize("package", sorted(FOLDERS))


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Writes a module into a package `mine_N` of the user's and returns its dotted path."""
    folder = tmp_path / f"mine_{tmp_path.name.replace('-', '_')}"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)

    def write(text: str, name: str = "thing") -> str:
        (folder / f"{name}.py").write_text(text)
        return f"{folder.name}.{name}"

    return write


def message(package: str, name: str) -> str:
    with pytest.raises(UsageError) as caught:
        load_plugin(package, name, FOLDERS[package])
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_every_folder_of_plug_ins_is_in_the_table_above() -> None:
    held = {path.parent for path in (ROOT / "millrace").rglob("__init__.py") if "class Plugin(Protocol)" in path.read_text()}
    found = {".".join(folder.relative_to(ROOT).parts) for folder in held}
    assert found == {*FOLDERS, "millrace.testing.kinds"}


@every_folder
def test_every_shipped_plug_in_keeps_its_folders_contract(package: str) -> None:
    for name in plugin_names(package):
        assert load_plugin(package, name, FOLDERS[package])


@pytest.mark.parametrize("package", sorted(FOLDERS.keys() - {"millrace.synthesis.families.contract"}))  # its names: test_families
def test_a_name_that_nothing_has_is_told_with_the_names_that_there_are(package: str) -> None:
    known = plugin_names(package)
    said = message(package, f"{known[0]}x")
    assert said.startswith(f"no {FOLDERS[package]} named '{known[0]}x'; did you mean '{known[0]}'? known: ")
    assert all(name in said for name in known)


@every_folder
def test_a_dotted_path_to_nothing_says_which_part_is_missing_and_what_to_do(package: str, mine: Callable[..., str]) -> None:
    path = mine("")
    assert "there is no module no_such_package; run the command in the folder" in message(package, "no_such_package.thing")
    folder = path.partition(".")[0]
    assert f"{folder} holds no module thign; did you mean 'thing'? known: thing" in message(package, f"{folder}.thign")
    assert f"{path} is a module and holds no module Thing; name the module alone: {path}" in message(package, f"{path}.Thing")


@every_folder
def test_a_module_that_raises_when_it_is_imported_is_told_with_its_file_and_line(package: str, mine: Callable[..., str]) -> None:
    said = message(package, mine("import os\n\nraise KeyError('colour')", "raises"))
    assert "cannot be imported: " in said
    assert "raises.py, line 3: KeyError: 'colour'; correct it there" in said
    assert "broken.py, line 2: SyntaxError: " in message(package, mine("x = 1\nx = = 2", "broken"))
    said = message(package, mine("import no_such_library", "needs"))
    assert "needs.py, line 1: No module named 'no_such_library'; install what it needs" in said
    assert "SystemExit" in message(package, mine("raise SystemExit(0)", "leaves"))


@every_folder
def test_a_module_that_lacks_what_its_kind_needs_is_told_so(package: str, mine: Callable[..., str]) -> None:
    path = mine("")
    assert f"the {FOLDERS[package]} '{path}' has no " in message(package, path)
    assert f"add it to {Path.cwd() / path.replace('.', '/')}.py" in message(package, path)


@every_folder
def test_a_plug_in_is_the_same_whether_it_is_named_by_its_name_or_by_its_dotted_path(package: str) -> None:
    for name in plugin_names(package):
        found = load_plugin(package, name, FOLDERS[package])
        assert load_plugin(package, found.__name__, FOLDERS[package]) is found


NOWHERE = "no_such_package.thing"
NAMED = {
    "millrace.synthesis.environments": ("synthesis", f"environment_mode={NOWHERE}"),
    "millrace.synthesis.policies": ("synthesis", f"policy={NOWHERE}"),
    "millrace.synthesis.exports": ("synthesis", f"exports=[{NOWHERE}]"),
    "millrace.synthesis.families.contract": (
        "synthesis",
        "environment_mode=families",
        f"environment_kwargs={{families: [{NOWHERE}]}}",
    ),
    "millrace.synthesis.environments.rag.retrievers": (
        "synthesis",
        "environment_mode=rag",
        f"environment_kwargs={{retriever: {NOWHERE}}}",
    ),
    "millrace.llm.providers": ("full", f"probing.baseline={{name: endpoint, chat: {{model: m, provider: {NOWHERE}}}}}"),
    "millrace.probing.baselines": ("full", f"probing.baseline.name={NOWHERE}"),
    "millrace.probing.judges": ("full", f"probing.judge.name={NOWHERE}"),
    "millrace.lake.annotations": ("full", f"probing.lake.annotation={NOWHERE}"),
    "millrace.qa.writers": ("full", f"qa.writer.name={NOWHERE}"),
    "millrace.qa.exports": ("full", f"qa.exports=[{NOWHERE}]"),
    "millrace.training.workloads": ("training", f"experiments=[{{mode: default, workload: {NOWHERE}}}]"),
    "millrace.training.energy": ("training", f"energy.providers=[{NOWHERE}]"),
    "millrace.improve.arms": ("full", "improve.enabled=true", f"improve.arms=[targeted, untargeted, {NOWHERE}]"),
    "millrace.improve.trainers": ("full", "improve.enabled=true", f"improve.trainer.name={NOWHERE}"),
    "millrace.improve.formats": (
        "full",
        "improve.enabled=true",
        f"improve.trainer={{name: command, command: [python], model: {{name: guess}}, format: {NOWHERE}}}",
    ),
}
"""Folder of plug-ins → a flow and the settings that name one of the user's own."""
FOUND = {"millrace.boxes.kinds", "millrace.boxes.verifiers", "millrace.digits.kinds", "millrace.digits.verifiers"}
"""Folders of plug-ins that no config names: all that are registered for a kind of annotation are used."""


def test_every_folder_of_plug_ins_can_be_named_in_a_config_or_is_used_whole() -> None:
    assert {*NAMED, *FOUND} == set(FOLDERS)


@pytest.mark.parametrize("more", [(), ("--dry-run",)], ids=["run", "dry"])
@pytest.mark.parametrize("package", sorted(NAMED))
def test_a_config_that_names_a_module_which_is_not_there_is_refused_in_the_same_words(
    package: str, more: tuple[str, ...], mine: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    mine("")
    Path("seeds.txt").write_text("a seed")
    flow, *settings = NAMED[package]
    given = [*settings, *(["seeds=seeds.txt"] if flow == "synthesis" else [])]
    with pytest.raises(SystemExit) as end:
        main([flow, *(part for setting in given for part in ("--set", setting)), "--run-dir", "run", *more])
    said = capsys.readouterr().err
    assert end.value.code == 2, said
    assert f"the {FOLDERS[package]} '{NOWHERE}' cannot be imported: there is no module no_such_package; run the command" in said
    assert not Path("run").exists()


def test_a_slip_in_a_functions_name_is_told_with_the_name_that_is_there(mine: Callable[..., str]) -> None:
    said = message("millrace.synthesis.environments", mine("def open_enviroment(): ..."))
    assert "has no function open_environment(**settings) (it has 'open_enviroment'); add it to " in said


def test_a_function_that_takes_other_arguments_is_told_with_those_it_gets(mine: Callable[..., str]) -> None:
    settings = "from millrace.config import Settings\nclass BaselineSettings(Settings):\n    name: str = ''\n"
    said = message("millrace.probing.baselines", mine(f"{settings}def open_baseline(settings): ..."))
    assert "open_baseline(settings) must take (settings, *, device): got an unexpected keyword argument 'device'" in said
    said = message("millrace.synthesis.exports", mine("def rows(item): ...", "other"))
    assert "rows(item) must take (item, trajectory, tree)" in said


def test_a_module_of_ones_own_without_a_dot_is_told_how_it_is_named(mine: Callable[..., str]) -> None:
    mine("")
    Path("my_world.py").write_text("")
    said = message("millrace.synthesis.environments", "my_world")
    assert "There is a module my_world; one of your own is named with a dot" in said
    assert "write mine.my_world" in said


def test_settings_without_a_name_or_of_another_class_are_told(mine: Callable[..., str]) -> None:
    rest = "\ndef open_judge(settings): ..."
    path = mine(f"from millrace.config import Settings\nclass JudgeSettings(Settings):\n    strict: bool = True{rest}")
    with pytest.raises(UsageError, match="JudgeSettings needs a field `name: str`"):
        plugin_settings("millrace.probing.judges", {"name": path}, "judge", "annotation")
    path = mine(f"class JudgeSettings: ...{rest}", "plain")
    with pytest.raises(UsageError, match="JudgeSettings must be a class derived from"):
        plugin_settings("millrace.probing.judges", {"name": path}, "judge", "annotation")


class Contract(Protocol):
    """A contract to try."""

    needed: int
    width: int = 3

    def work(self, thing: Any, *, times: int) -> str: ...

    @optional
    def rest(self) -> str:
        return f"{self.needed} and default"

    @property
    @optional
    def doubled(self) -> list[int]:
        return [self.needed, self.needed]


class Bare:
    needed = 1

    def work(self, thing: Any, *, times: int) -> str:
        return f"{thing}{times}"


def test_what_a_plug_in_leaves_out_is_the_contracts_default() -> None:
    opened = completed(Bare(), Contract, "the thing 'bare'")
    assert (opened.width, opened.rest(), opened.doubled, opened.work("a", times=2)) == (3, "1 and default", [1, 1], "a2")


def test_what_a_plug_in_has_is_its_own_also_when_it_is_none() -> None:
    class Own(Bare):
        needed = None  # type: ignore[assignment]
        width = 9

        def rest(self) -> str:
            return "own"

    opened = completed(Own(), Contract, "the thing 'own'")
    assert (opened.needed, opened.width, opened.rest()) == (None, 9, "own")


def test_a_class_that_derives_from_the_contract_and_forgets_a_method_is_told() -> None:
    class Forgets(Contract):
        needed = 1

    with pytest.raises(UsageError, match=r"the thing 'f': .*Forgets has no function work\(thing, \*, times\); add it there"):
        completed(Forgets(), Contract, "the thing 'f'")


def test_what_cannot_be_given_a_default_is_told_to_derive() -> None:
    class Slots:
        __slots__ = ("needed",)

        def work(self, thing: Any, *, times: int) -> str:
            return ""

    made = Slots()
    made.needed = 1
    with pytest.raises(UsageError, match=r"has no 'width' and cannot be given one: derive its class from .*\.Contract"):
        completed(made, Contract, "the thing 's'")


def test_a_project_on_the_module_path_adds_its_entry_points_without_being_installed(
    mine: Callable[..., str], tmp_path: Path
) -> None:
    path = mine("def rows(item, trajectory, tree):\n    yield {'id': item['qa_id']}", "lines")
    folder = path.partition(".")[0]
    (tmp_path / folder / "claims_of_mine.yaml").write_text("")
    (tmp_path / "pyproject.toml").write_text(
        f'[project.entry-points."millrace.synthesis.exports"]\nlines_of_mine = "{path}"\ngone = "no_such_package.thing"\n'
        f'[project.entry-points."millrace.probing.claim_sets"]\nobjects_of_mine = "{folder}.claims_of_mine"\n'
    )
    script = (
        "from millrace.plugins.loading import load_plugin, plugin_files, plugin_names\n"
        "names = plugin_names('millrace.synthesis.exports')\n"
        "assert 'lines_of_mine' in names and 'gone' not in names, names\n"
        "module = load_plugin('millrace.synthesis.exports', 'lines_of_mine', 'export')\n"
        "files = plugin_files('millrace.probing.claim_sets', 'yaml')\n"
        "print(module.__name__, *(file.name for file in files.values()))\n"
    )
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [path, "default.yaml", "objects.yaml", "claims_of_mine.yaml"]


def test_a_broken_plug_in_of_another_package_leaves_the_form_as_it_is(
    mine: Callable[..., str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = mine("raise RuntimeError('not today')", "broken")
    (tmp_path / "pyproject.toml").write_text(f'[project.entry-points."millrace.probing.judges"]\nbroken = "{path}"\n')
    form: type[BaseModel] = create_model(
        "Form", judge=(Annotated[dict[str, Any], SettingsOf("millrace.probing.judges", "judge", "annotation")], ...)
    )
    titles = [one.get("title") for one in form.model_json_schema()["properties"]["judge"]["anyOf"]]
    assert len(titles) == 3  # annotation, endpoint, your own
    assert "broken" in plugin_names("millrace.probing.judges")
    assert "left out of the form: the judge 'broken' cannot be imported" in caplog.text


def test_forms_and_configs_know_the_same_names() -> None:
    from millrace.synthesis.settings import SynthesisConfig

    schema = SynthesisConfig.model_json_schema()["properties"]
    shown = {field: schema[field]["anyOf"][0]["enum"] for field in ("environment_mode", "policy")}
    assert shown["policy"] == plugin_names("millrace.synthesis.policies")
    assert shown["environment_mode"] == plugin_names("millrace.synthesis.environments")
    for field, wrong in (("policy", "chatt"), ("environment_mode", "maths"), ("exports", ["chatt"])):
        with pytest.raises(UsageError, match="did you mean"):
            parse_config(SynthesisConfig, {field: wrong}, where="here")


def test_two_exports_that_would_share_a_folder_are_refused_before_the_run(mine: Callable[..., str]) -> None:
    from millrace.qa import preflight
    from millrace.qa.settings import QaSettings

    own = mine("def open_export(folder): ...", "llava")
    with pytest.raises(UsageError, match=rf"the exports 'llava' and '{own}' would both be written into exports/llava"):
        preflight.check(QaSettings(exports=("llava", own)))


def test_the_command_finds_plug_ins_in_the_working_folder(
    mine: Callable[..., str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = mine("raise RuntimeError('found it')", "found")
    here = str(Path.cwd())
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place != here])
    Path("seeds.txt").write_text("a seed")
    with pytest.raises(SystemExit) as end:
        main(["synthesis", "--set", f"environment_mode={path}", "--set", "seeds=seeds.txt", "--run-dir", "run"])
    assert end.value.code == 2
    assert "found.py, line 1: RuntimeError: found it; correct it there" in capsys.readouterr().err
    assert not Path("run").exists()
