"""Studies from their options to their files, and the command."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from headstart.datasets.sources import fingerprint
from headstart.errors import InvalidRequest, ResourceError, TrainingFailed
from headstart.report.study import write_study_page
from headstart.storage.files import write_json
from headstart.storage.locks import exclusive_lock
from headstart.study import summary
from headstart.study.plan import Plan, make_plan
from headstart.study.results import ResultStore
from headstart.study.runner import StudyProgress, check_study, execute_study
from headstart.study.subsets import load_images
from headstart.study.summary import Analysis
from headstart.training.recipes import RECIPE_A, RECIPE_B, as_file, as_json, read_recipes
from support.clusters import QUICK, TINY, FakeTraining, spoiled, study_of
from support.runs import command, the_one_line

if TYPE_CHECKING:
    from distributed import Client

    from headstart.practical.data import Dataset

Finished = tuple[Plan, ResultStore]
MakePlan = Callable[..., Plan]
OPTIONS: dict[str, Any] = {"data": "digits", "precision": "float32", "pairs": "4,9", "seeds": 1}


def ignore(folder: Path, content: dict[str, Any], analysis: Analysis) -> None:
    """Make nothing from the results."""


@pytest.fixture
def tiny_file(here: Path) -> Path:
    """A file with the tiny network's recipes; the test works in its own folder."""
    path = here / "tiny.json"
    path.write_text(json.dumps(as_file((TINY, TINY))))
    return path


@pytest.fixture
def copied(finished: Finished, digits: Dataset, tmp_path: Path) -> Callable[[], Any]:
    """Make studies of the finished plan, all of whose rows are in the folder."""
    plan, store = finished
    shutil.copytree(store.folder, tmp_path / "study")
    return lambda: study_of(plan, digits, tmp_path / "study")


# The request


def test_recipes_that_do_not_fit_together_are_refused(tmp_path: Path) -> None:
    study = check_study(**OPTIONS, out=tmp_path / "study", recipes=(TINY, TINY))
    assert study.recipes == (TINY, TINY)
    assert {network.recipe.units for network in study.plan.networks.values()} == {16}
    with pytest.raises(InvalidRequest, match="equal values, because weights are copied"):
        check_study(**OPTIONS, out=tmp_path / "study", recipes=(TINY, RECIPE_B))
    assert check_study(**OPTIONS, out=tmp_path / "study").recipes == (RECIPE_A, RECIPE_B)


def test_fewer_images_are_another_dataset(tmp_path: Path) -> None:
    whole, part = (check_study(**OPTIONS, out=tmp_path, images=images) for images in (1.0, 0.25))
    assert part.dataset.name == f"{whole.dataset.name}, 0.25 of its training images"
    assert not part.plan.networks.keys() & whole.plan.networks.keys()


def test_other_machines_are_not_measured_and_get_float32(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headstart.options.choose_precision", lambda precision: ("bfloat16", "measured here"))
    options = OPTIONS | {"out": tmp_path, "precision": "auto"}
    assert check_study(**options).options["precision"] == "bfloat16"
    assert check_study(**options, on_cluster=True).options["precision"] == "float32"
    monkeypatch.undo()
    explicit = check_study(**options | {"precision": "bfloat16"}, on_cluster=True)
    assert explicit.options["precision"] == "bfloat16"


def test_a_study_continues_in_the_precision_that_is_stored(tmp_path: Path) -> None:
    write_json(tmp_path / "study.json", {"options": {"precision": "bfloat16", "precision_reason": "it was faster"}})
    study = check_study(**OPTIONS | {"precision": "auto"}, out=tmp_path)
    assert (study.options["precision"], study.options["precision_reason"]) == ("bfloat16", "it was faster")


def test_a_study_of_another_version_is_refused_with_a_remedy(tmp_path: Path) -> None:
    write_json(tmp_path / "study.json", {"asked": {"precision": "float32"}})
    with pytest.raises(InvalidRequest, match="remove it to continue from the rows that are there"):
        check_study(**OPTIONS, out=tmp_path)


# What is written


def test_every_writing_analyses_the_results_once(
    copied: Callable[[], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page gets the same tables as the files, and computes none of them again."""
    computed: list[str] = []

    def count(name: str) -> None:
        compute = getattr(summary, name)

        def counted(*tables: pd.DataFrame) -> pd.DataFrame:
            computed.append(name)
            return compute(*tables)

        monkeypatch.setattr(summary, name, counted)

    def check(folder: Path, content: dict[str, Any], analysis: Analysis) -> None:
        for name, table in (("summary.csv", analysis.summary), ("pairs.csv", analysis.pairs)):
            assert (folder / name).read_text() == table.to_csv(index=False)
            assert len(table) == 3 * 2  # strategies and sizes
        assert len(pd.read_csv(folder / "results.csv")) == len(analysis.results) == 11
        write_study_page(folder, content, analysis)

    for name in ("differences", "pair_effects", "summarise"):
        count(name)
    for _ in range(2):
        execute_study(copied(), check)
    assert computed == ["differences", "pair_effects", "summarise"] * 2


def test_results_can_be_read_while_the_study_runs(
    client: Client, fake: FakeTraining, tiny: MakePlan, digits: Dataset, tmp_path: Path
) -> None:
    rows: list[int] = []

    def look(folder: Path, content: dict[str, Any], analysis: Analysis) -> None:
        rows.append(len(pd.read_csv(folder / "results.csv")))
        assert len(analysis.results) == rows[-1]

    study = study_of(tiny(strategies="last_layer", epochs=1), digits, tmp_path / "study")
    execute_study(study, look, scheduler=client.scheduler.address, write_interval=0, train=fake)
    assert rows == [1, 2, 3]


def test_networks_that_fail_are_reported_and_all_others_completed(
    client: Client, fake: FakeTraining, tiny: MakePlan, digits: Dataset, tmp_path: Path
) -> None:
    good, bad = tiny(epochs=1), spoiled(tiny(epochs=1, pairs="3,5"))
    study = study_of(Plan((*good.conditions, *bad.conditions)), digits, tmp_path / "study")
    with pytest.raises(TrainingFailed, match="3 of 8 networks failed"):
        execute_study(study, ignore, scheduler=client.scheduler.address, train=fake)
    results = pd.read_csv(tmp_path / "study" / "results.csv", keep_default_na=False)
    assert set(results["frozen"]) == {"", "0", "4", "5"}  # whole numbers, although some are missing
    failed = results[results["error"] != ""]
    assert failed["strategy"].tolist() == ["a", "last_layer", "two_layers"]
    assert failed["error"].str.contains("Traceback").all()
    assert failed["error"].str.contains("learning_rate").all()
    assert (results[results["classes_b"] == "four,nine"]["test_accuracy"] != "").all()
    assert (results[results["strategy"] == "scratch"]["test_accuracy"] != "").all()


def test_tracebacks_are_written_when_the_study_is_interrupted(
    client: Client,
    fake: FakeTraining,
    tiny: MakePlan,
    digits: Dataset,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    plan = spoiled(tiny(pairs="3,5"))
    broken = [condition for condition in plan.conditions if condition.network.part == "a" or condition.network.source]
    study, ended = study_of(Plan((*broken, *tiny(strategies="scratch").conditions)), digits, tmp_path / "study"), []

    class Interrupt(logging.Handler):
        """Presses Ctrl-C when the fourth network ends."""

        def emit(self, record: logging.LogRecord) -> None:
            ended.append(record.getMessage())
            if len(ended) == 4:
                raise KeyboardInterrupt

    caplog.set_level(logging.INFO, "headstart")
    logger, handler = logging.getLogger("headstart.study.runner"), Interrupt()
    logger.addHandler(handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            execute_study(study, ignore, scheduler=client.scheduler.address, train=fake)
    finally:
        logger.removeHandler(handler)
    results = pd.read_csv(tmp_path / "study" / "results.csv", keep_default_na=False)
    assert results["error"].str.contains("Traceback").sum() == 3


def test_a_kill_between_the_first_two_files_leaves_a_studys_folder(
    tiny: MakePlan, digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_and_die(path: Path, content: object) -> None:
        write_json(path, content)
        raise KeyboardInterrupt

    folder = tmp_path / "study"
    monkeypatch.setattr("headstart.study.runner.write_json", write_and_die)
    with pytest.raises(KeyboardInterrupt):
        execute_study(study_of(tiny(), digits, folder), ignore)
    study = check_study(**OPTIONS | {"precision": "auto"}, out=folder)
    assert study.options["precision_reason"] == "a test"


def test_partial_files_of_a_killed_study_are_removed(copied: Callable[[], Any], tmp_path: Path) -> None:
    study = copied()
    partial = [study.folder / "rows" / ".x.json.1.part", study.folder / ".report.html.2.part"]
    for path in partial:
        path.touch()
    execute_study(study, ignore)
    assert not [path for path in partial if path.exists()]


def test_a_folder_in_which_another_process_works_is_refused(copied: Callable[[], Any]) -> None:
    study = copied()
    with exclusive_lock(study.folder), pytest.raises(ResourceError, match="another process is working in this folder"):
        execute_study(study, ignore)


# Progress


def test_the_remaining_time_follows_from_the_remaining_work(
    tiny: MakePlan, digits: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A source takes many times as long as the networks that start from it."""
    caplog.set_level(logging.INFO, "headstart")
    plan, now = tiny(strategies="last_layer", train_sizes="8", epochs=200), [0.0]
    progress = StudyProgress(plan, digits, ResultStore(tmp_path), clock=lambda: now[0])
    networks = {condition.strategy: condition.network for condition in plan.conditions}
    for strategy, seconds in (("a", 600), ("scratch", 60)):
        now[0] += seconds
        progress.count(networks[strategy], "")
    minutes = [int(message.rpartition("| ")[2].split()[0]) for message in caplog.messages]
    assert minutes[0] < 20  # two networks of three are left, which would be twice ten minutes if all were equal
    assert minutes[1] < minutes[0]


def test_a_source_that_is_trained_again_does_not_count_as_remaining(
    tiny: MakePlan, digits: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "headstart")
    plan, store = tiny(), ResultStore(tmp_path)
    networks = {condition.strategy: condition.network for condition in plan.conditions}
    store.path(networks["a"].key).parent.mkdir()
    store.path(networks["a"].key).touch()  # its row is there, and its weights are not
    progress = StudyProgress(plan, digits, store)
    for name in ("a", "last_layer"):
        progress.count(networks[name], "")
    assert [message.partition(" networks")[0] for message in caplog.messages] == ["1 of 4", "2 of 4"]
    assert progress.left == {networks[name].key for name in ("scratch", "two_layers")}


# The command


@pytest.fixture
def cluster(client: Client, fake: FakeTraining, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a cluster on which the command trains nothing."""
    monkeypatch.setattr("headstart.study.runner.execute_study", partial(execute_study, train=fake))
    return str(client.scheduler.address)


def test_the_command_writes_its_files_and_trains_nothing_again(
    tiny_file: Path, cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("study", *QUICK, "--strategies", "last_layer", "--train-sizes", "20,10", "--recipe", tiny_file)
    first = command(*options, "--scheduler", cluster)
    assert (first.status, first.errors) == (0, "")
    assert "Precision: float32" in first.output
    assert "To train: 5 of 5 networks, into study" in first.output
    assert "5 of 5 networks: " in first.output
    names = {path.name for path in Path("study").iterdir() if path.name[0] != "."}
    assert names == {
        *("results.csv", "summary.csv", "pairs.csv", "conclusions.md", "report.html"),
        *("study.json", "recipe.json", "rows", "sources", "figures"),
    }
    results = pd.read_csv("study/results.csv")
    assert list(results)[:6] == ["classes_b", "seed", "strategy", "copied", "frozen", "train_size"]
    assert len(results) == 5
    assert json.loads(Path("study/study.json").read_text())["networks"] == 5
    before = Path("study/results.csv").read_bytes()
    Path("study/rows/of-older-code.json").write_text("{}")
    Path("study/figures/map-A3B-0.5.png").write_bytes(b"of an earlier plan")
    Path("study/figures/mine.png").write_bytes(b"the user's")

    def never(*_: object) -> None:
        raise AssertionError("workers were started")

    monkeypatch.setattr("headstart.study.runner.connect", never)
    again = command(*options)
    assert again.status == 0, again
    assert "1 rows in study are of another plan, other data or other code: ignored" in again.output
    assert "To train: 0 of 5 networks, into study" in again.output
    assert "of 5 networks:" not in again.output
    assert Path("study/results.csv").read_bytes() == before
    assert not Path("study/figures/map-A3B-0.5.png").exists()
    assert Path("study/figures/mine.png").read_bytes() == b"the user's"
    assert Path("study/figures/sizes.png").exists()


def test_the_command_trains_with_the_recipes_of_its_files(tiny_file: Path) -> None:
    """On a worker of its own; the folder contains the recipes."""
    Path("b.json").write_text('{"b": {"label_smoothing": 0.2}}')
    files = [tiny_file, Path("b.json")]
    options = ("study", *QUICK, "--strategies", "last_layer", "--images", "0.2", "--workers", "1")
    ended = command(*options, *(word for file in files for word in ("--recipe", file)))
    assert (ended.status, ended.errors) == (0, "")
    recipes = read_recipes(files)
    assert recipes == (TINY, replace(TINY, label_smoothing=0.2))
    part, _ = load_images("digits", 0.2)
    plan = make_plan(part, fingerprint(part), "4,9", 1, "last_layer", epochs=1, recipes=recipes)
    assert {path.stem for path in Path("study/rows").iterdir()} == plan.networks.keys()
    stored = json.loads(Path("study/recipe.json").read_text())
    assert json.loads(Path("study/study.json").read_text())["recipe"] == stored
    set_by_options = ("epochs", "seed", "precision")
    assert stored["b"] == {name: value for name, value in as_json(recipes[1]).items() if name not in set_by_options}
    again = command(*options, "--recipe", "study/recipe.json")
    assert "To train: 0 of 3 networks" in again.output
    other = check_study(**OPTIONS, images=0.2, out="study", epochs=1)
    assert len(other.missing) == len(other.plan.networks) == 4  # the package's recipes are different


def test_a_study_on_a_cluster_is_not_measured_here(
    cluster: str, tiny_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headstart.options.choose_precision", lambda precision: ("bfloat16", "measured here"))
    unmeasured = QUICK[: QUICK.index("--precision")]
    options = ("--strategies", "scratch", "--images", "0.2", "--recipe", tiny_file)
    ended = command("study", *unmeasured, *options, "--scheduler", cluster)
    assert (ended.status, ended.errors) == (0, "")
    assert len(list(Path("study/rows").glob("*.json"))) == 1
    assert json.loads(Path("study/study.json").read_text())["options"]["precision"] == "float32"


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("--workers", "0"), 2),
        (("--recipe", "nowhere.json"), 2),
        (("--pairs", "4,4"), 2),
        (("--images", "0"), 2),
        (("--scheduler", "nonsense"), 2),
        (("--scheduler", "tcp://127.0.0.1:9", "--workers", "2"), 2),
        (("--out", "x" * 300), 1),
        (("--out", "/dev/null/study"), 1),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, tuple) else "",
)
def test_an_invalid_command_gets_one_line(arguments: tuple[str, ...], status: int, here: Path) -> None:
    the_one_line(command("study", *QUICK, *arguments), status)


def test_a_folder_with_other_files_is_not_written_to(here: Path) -> None:
    Path("study").mkdir()
    Path("study/thesis.txt").write_text("mine")
    assert command("study", *QUICK).status == 2
    assert [path.name for path in Path("study").iterdir()] == ["thesis.txt"]
