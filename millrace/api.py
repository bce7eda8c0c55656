"""The stages as plain functions: no server, no scheduler, in a notebook or a script.

Each works in a run's folder, as the flows do: the same folder and settings go on where a run stopped, what is finished is only
read. A folder that a function began can be taken up by a flow, and the other way round.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from millrace.config import Settings, find_config, load_config, parse_config
from millrace.run.folder import finished_state
from millrace.run.local import open_local_run
from millrace.run.reopening import take_up
from millrace.run.results import RunResults
from millrace.run.stage import check_in_order

if TYPE_CHECKING:
    from millrace.run.context import RunContext
    from millrace.run.stage import Stage

S = TypeVar("S", bound=Settings)


def probe(run_dir: Path | str, *, images: Path | str | None = None, workers: int = 1, **settings: Any) -> RunResults:
    """Ask the model under test claims about images, and have a judge decide what happened to each.

    Args:
        run_dir: the run's folder, new or to be taken up again.
        images: a folder of parquet files with images; None: the embedded handwritten digits.
        workers: processes that draw the embedded images; the ranks that ask are `torchrun={"nproc_per_node": …}`.
        settings: of probing, by name: `sample_size=200`, `baseline={"name": "endpoint", …}` (`millrace probing --help`).

    Raises:
        UsageError, InputError: a setting or the input is wrong. RunFailed: too much of the run broke.
    """
    from millrace.probing.settings import ProbingConfig
    from millrace.probing.stage import Probing

    if images is not None:
        settings["lake"] = {**settings.get("lake", {}), "path": Path(images)}
    return _do("probing", [Probing(_settings(ProbingConfig, settings, "probe"))], run_dir, workers)


def select_failures(run_dir: Path | str, *, outcomes: Path | str | None = None, workers: int = 1, **settings: Any) -> RunResults:
    """Select failures, balanced over their kinds, and route each to the kind of question that exercises it.

    Args:
        run_dir: the folder of a probing, or a new one when the outcomes come from elsewhere.
        outcomes: a file or folder of outcomes; None: those of the run's folder.
        workers: processes.
        settings: of filtering, by name: `quota=50` (`millrace filtering --help`).

    Raises:
        UsageError, InputError: a setting or the input is wrong.
    """
    from millrace.filtering.settings import FilteringSettings
    from millrace.filtering.stage import Filtering

    place = None if outcomes is None else Path(outcomes)
    return _do("filtering", [Filtering(_settings(FilteringSettings, settings, "select_failures"), place)], run_dir, workers)


def write_questions(run_dir: Path | str, *, workers: int = 1, **settings: Any) -> RunResults:
    """Write questions about selected failures, answer and check them, and leave a dataset.

    Args:
        run_dir: the folder of a filtering.
        workers: processes.
        settings: of the question stage, by name: `language="zh"` (`millrace qa --help`).

    Raises:
        UsageError, InputError: a setting or the input is wrong. RunFailed: too few questions came out.
    """
    from millrace.probing.stage import AskBaseline
    from millrace.qa.settings import QaSettings
    from millrace.qa.stage import WriteQuestions

    return _do("qa", [WriteQuestions(_settings(QaSettings, settings, "write_questions"), AskBaseline())], run_dir, workers)


def find_failures(run_dir: Path | str, *, images: Path | str | None = None, workers: int = 1, **settings: Any) -> RunResults:
    """The main job: `probe`, `select_failures` and `write_questions` in one folder.

    Args:
        run_dir: the run's folder, new or to be taken up again.
        images: as for `probe`.
        workers: processes.
        settings: by part: `probing={"sample_size": 200}`, `filtering={"quota": 50}`, `qa={"language": "zh"}`.
    """
    from millrace.filtering.settings import FilteringSettings
    from millrace.filtering.stage import Filtering
    from millrace.probing.settings import ProbingConfig
    from millrace.probing.stage import AskBaseline, Probing
    from millrace.qa.settings import QaSettings
    from millrace.qa.stage import WriteQuestions
    from millrace.reporting.full_results import conclude

    parts = {name: dict(settings.pop(name, {})) for name in ("probing", "filtering", "qa")}
    if settings:
        raise TypeError(f"find_failures takes the parts probing, filtering and qa, not '{next(iter(settings))}'")
    if images is not None:
        parts["probing"]["lake"] = {**parts["probing"].get("lake", {}), "path": Path(images)}
    probing = _settings(ProbingConfig, parts["probing"], "find_failures, probing")
    selection = {"failures_per_image": None, "quota": 50, **parts["filtering"]}
    stages = [
        Probing(probing),
        Filtering(_settings(FilteringSettings, selection, "find_failures, filtering"), annotation=probing.lake.annotation),
        WriteQuestions(_settings(QaSettings, parts["qa"], "find_failures, qa"), AskBaseline(probing)),
    ]
    return _do("full", stages, run_dir, workers, lambda run: conclude(run, probing.claim_set()))


def compare_runs(run_dir: Path | str, before: Path | str, after: Path | str, **settings: Any) -> RunResults:
    """Compare what two models did on the same images, claims and subjects: what got better, what got worse, and how surely.

    Args:
        run_dir: the comparison's folder, new or to be taken up again.
        before: a finished run of `probe` or `find_failures`: the model that is compared with.
        after: the same of the model that is compared.
        settings: of the comparison, by name: `margin=0.01` (`millrace compare --help`).

    Raises:
        UsageError, InputError: a setting is wrong, or the runs can't be compared.
    """
    from millrace.compare.results import finish, sides_in
    from millrace.compare.settings import CompareSettings
    from millrace.compare.stage import Compare
    from millrace.probing.how_asked import HowAsked

    sides = {"before": {"run": Path(before)}, "after": {"run": Path(after)}}
    chosen, how = _settings(CompareSettings, {**settings, **sides}, "compare_runs"), HowAsked()

    def put_together(run: RunContext) -> None:
        finish(run, chosen, how, sides_in(run.folder.path, chosen))

    return _do("compare", [Compare(chosen, how)], run_dir, 1, put_together)


def synthesize(
    run_dir: Path | str, config: Path | str | None = None, *, seeds: Path | Sequence[str] | None = None, **settings: Any
) -> RunResults:
    """Turn seeds into tool-use trajectories and question-answer pairs whose answers are proven.

    Args:
        run_dir: the run's folder, new or to be taken up again.
        config: a YAML file, or the name of shipped settings ("math", "python", "rag", "web"); None: all defaults.
        seeds: a file of seeds, or the seeds themselves; None: the environment's example seeds.
        settings: on top of the config, by name: `max_workers=4`, `number_of_seed=20` (`millrace synthesis --help`).

    Raises:
        UsageError, InputError: a setting or the seeds are wrong. RunFailed: too many seeds failed.
    """
    from millrace.run.journal import write_json
    from millrace.synthesis.runs.stage import Synthesis
    from millrace.synthesis.runs.summary import conclude
    from millrace.synthesis.settings import SynthesisConfig

    if seeds is not None and not isinstance(seeds, Path | str):
        file = Path(run_dir) / "seeds.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, list(seeds))
        seeds = file
    if seeds is not None:
        settings["seeds"] = str(seeds)
    path = find_config("synthesis", Path(config)) if config is not None else None
    base = load_config(SynthesisConfig, path)
    whole = parse_config(SynthesisConfig, {**base.model_dump(), **settings}, where="synthesize")
    return _do("synthesis", [Synthesis(whole)], run_dir, whole.workers, lambda run: conclude(run, whole))


def _settings(model: type[S], given: Mapping[str, Any], where: str) -> S:
    return parse_config(model, dict(given), where=where)


def _do(
    name: str,
    stages: Sequence[Stage],
    run_dir: Path | str,
    workers: int,
    conclude: Callable[[RunContext], object] = lambda run: None,
) -> RunResults:
    """Do stages in this process: what a flow of them does, without a server."""
    folder = Path(run_dir)
    check_in_order(stages, folder)
    for stage in stages:
        stage.reach()
    take_up(stages, folder)
    sections = {stage.section: stage.config for stage in stages}
    if finished_state(folder, name, sections):
        return RunResults(folder)
    with open_local_run(name, sections, folder, workers) as run:
        for stage in stages:
            run.do(stage)
        conclude(run)
        run.finish(stages)
    return RunResults(folder)
