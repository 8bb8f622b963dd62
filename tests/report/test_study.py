from __future__ import annotations

import base64
import json
import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from headstart.errors import InvalidRequest, ResourceError
from headstart.report.study import describe_study, rewrite_study_page
from headstart.storage.files import write_json
from headstart.study.closeness import closeness
from headstart.study.conclusions import conclude
from headstart.study.outputs import read_plan
from headstart.study.results import read_results
from headstart.study.summary import Analysis, analyse
from headstart.training.recipes import RECIPE_A, RECIPE_B
from support.studies import make_study


def analysis_of(folder: Path) -> Analysis:
    """Read a study's results, and analyse them."""
    return analyse(read_results(folder / "results.csv", read_plan(folder)["dataset"]["class_names"]))


def describe(folder: Path, **options: Any) -> dict[str, Any]:
    """Return what the page of a study shows."""
    return describe_study(folder, read_plan(folder), analysis_of(folder), **options)


def page_of(folder: Path) -> str:
    """Write the page of a study, and return it."""
    return rewrite_study_page(folder).read_text(encoding="utf-8")


Edit = Callable[[pd.DataFrame], pd.DataFrame]


def edit_results(folder: Path, edit: Edit) -> None:
    """Edit `results.csv`, as a table of texts."""
    results = pd.read_csv(folder / "results.csv", keep_default_na=False, dtype=str)
    edit(results).to_csv(folder / "results.csv", index=False)


def test_the_figures_are_those_of_the_summary(study: Path) -> None:
    shown = describe(study)
    summary = pd.read_csv(study / "summary.csv", dtype={"train_size": str})
    assert [row["strategy"] for row in shown["summary"]] == summary["strategy"].tolist()
    for trace in shown["figures"]["overview"].data:
        size = trace.name.removeprefix("size ")
        rows = summary[summary["train_size"] == size]
        assert list(trace.x) == pytest.approx((100 * rows["difference"]).tolist(), abs=0.006)
        assert list(trace.error_x.array) == pytest.approx(
            (100 * (rows["high"] - rows["difference"])).tolist(), abs=0.006
        )


def test_the_answer_is_the_largest_and_the_smallest_gain(study: Path) -> None:
    shown = describe(study)
    assert shown["lead"][0].startswith("The largest of 12 gains: “A3B+” at size 5")
    assert shown["lead"][1].startswith("The smallest: “last_layer” at size 1.0")


def test_every_pair_has_figures_and_a_cell_of_the_map(study: Path) -> None:
    shown = describe(study)
    assert len(shown["pairs"]) == 3
    [grid] = shown["figures"]["map-0"].data
    for number, (first, second) in enumerate(shown["pairs"]):
        i, j = (shown["study"]["dataset"]["class_names"].index(name) for name in (first, second))
        assert grid.customdata[i][j] == grid.customdata[j][i] == number
        assert {f"pair-gain-{number}", f"pair-curves-{number}"} <= shown["figures"].keys()


def test_curves_are_the_mean_over_the_seeds(study: Path) -> None:
    [scratch] = [t for t in describe(study)["figures"]["pair-curves-0"].data if t.meta["line"] == "scratch"]
    assert list(scratch.x) == [1, 2]
    assert list(scratch.y) == pytest.approx([50, 90], abs=2)


def test_charts_by_depth_and_size_need_several_of_them(tmp_path: Path) -> None:
    both = describe(make_study(tmp_path / "both"))["figures"]
    assert {"depth-gain", "depth-accuracy", "sizes-gain", "sizes-accuracy"} <= both.keys()
    neither = describe(make_study(tmp_path / "neither", strategies=("last_layer",), sizes=("1.0",)))["figures"]
    assert not [name for name in neither if name.startswith(("depth", "sizes"))]


def test_five_pairs_are_drawn_by_what_may_predict_their_gain(tmp_path: Path) -> None:
    folder = make_study(tmp_path / "five", pairs=5)
    shown, effects = describe(folder), analysis_of(folder).pairs
    assert shown["predictors"] == ["error from scratch (%)", "closeness in meaning to part A's classes"]
    for n, (strategy, size) in enumerate(shown["maps"]):
        group = effects[(effects["strategy"] == strategy) & (effects["train_size"] == size)]
        (by_error,), (by_closeness,) = (shown["figures"][f"predictor-{k}-{n}"].data for k in (0, 1))
        assert list(by_error.x) == pytest.approx((100 * (1 - group["scratch_accuracy"])).tolist(), abs=1e-4)
        assert (
            list(by_closeness.y) == list(by_error.y) == pytest.approx((100 * group["difference"]).tolist(), abs=0.006)
        )
    assert by_closeness.x[0] == pytest.approx(closeness(["cat", "dog"], ["cat", "dog", "frog", "ship"]), abs=1e-4)
    assert by_error.hovertext[0].startswith("cat or dog: ")


def test_other_classes_have_no_closeness_and_four_pairs_no_predictors(tmp_path: Path) -> None:
    other = describe(make_study(tmp_path / "other", classes=("a", "b", "c", "d"), pairs=5))
    assert other["predictors"] == ["error from scratch (%)"]
    four = describe(make_study(tmp_path / "four", pairs=4))
    assert not [name for name in (*four["predictors"], *four["figures"]) if "predictor" in name]


def test_the_csv_files_are_inside_the_page(study: Path) -> None:
    page = page_of(study)
    for name in ("results.csv", "summary.csv", "pairs.csv"):
        [content] = re.findall(f'href="data:text/csv;base64,([^"]*)" download="{name}"', page)
        assert base64.b64decode(content) == (study / name).read_bytes()
    assert len(page) < 6_000_000


def test_a_table_that_is_too_large_is_not_inside_the_page(study: Path) -> None:
    files = describe(study, max_bytes=(study / "summary.csv").stat().st_size)["files"]
    assert files["results.csv"] == ""
    assert files["summary.csv"].startswith("data:text/csv;base64,")


def test_the_page_names_a_table_that_is_next_to_it(study: Path) -> None:
    with (study / "results.csv").open("a") as file:
        file.write("\n" * 1_000_000)  # empty lines are not rows
    page = page_of(study)
    assert "results.csv is next to this page" in page
    assert 'download="results.csv"' not in page
    assert 'download="summary.csv"' in page


def test_the_command_executes_the_same_study_again(study: Path) -> None:
    words = shlex.split(describe(study)["command"])
    assert words[:4] == ["headstart", "study", "--pairs", "cat,dog+a b"]
    assert words[words.index("--train-sizes") + 1] == "1.0,5"
    assert "--precision-reason" not in words


def test_the_command_names_a_recipe_that_is_not_the_default(tmp_path: Path) -> None:
    for recipe_b, option in ((RECIPE_B, []), (replace(RECIPE_B, learning_rate=0.001), ["--recipe", "recipe.json"])):
        words = shlex.split(describe(make_study(tmp_path, pairs=1, recipes=(RECIPE_A, recipe_b)))["command"])
        assert words[words.index("float32") + 1 :] == option


def test_the_command_names_the_data_that_auto_found(study: Path) -> None:
    content = json.loads((study / "study.json").read_text())
    content["options"]["data"] = "auto"
    for name, data in (
        ("scikit-learn digits, not CIFAR-10, 0.1 of its training images", "digits"),
        ("CIFAR-10", "cifar10"),
    ):
        content["dataset"]["name"] = name
        write_json(study / "study.json", content)
        assert f"--data {data}" in describe(study)["command"]


def test_the_conclusions_are_all_there(study: Path) -> None:
    analysis = analysis_of(study)
    expected = conclude(analysis, ["cat", "dog", "frog", "ship"], len(analysis.results), "invented images")
    assert describe(study)["conclusions"] == expected
    page = page_of(study).replace("&#39;", "'")
    assert all(paragraph in page for paragraph in expected)


def test_a_loss_that_is_not_finite_is_reported(study: Path) -> None:
    edit_results(study, lambda table: table.assign(test_loss=["", *table["test_loss"][1:]]))
    conclusions = describe(study)["conclusions"]
    assert any("The loss of 1 networks is not finite" in paragraph for paragraph in conclusions)


def test_a_study_that_is_not_complete_says_so(study: Path) -> None:
    planned = json.loads((study / "study.json").read_text())
    assert "126 networks trained" in page_of(study)
    write_json(study / "study.json", {**planned, "networks": 999})
    page = page_of(study)
    assert "126 of 999 networks trained" in page
    assert "873 of 999 networks are not trained" in page


def test_class_names_are_escaped(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>"
    page = page_of(make_study(tmp_path, classes=(evil, "null", "nan", "$x$")))
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; or null" in page


def test_a_study_without_strategies_has_a_page(tmp_path: Path) -> None:
    folder = make_study(tmp_path, strategies=())
    page = page_of(folder)
    assert "Nothing can be concluded" in page


def renamed(pair: str) -> Edit:
    """Return an edit that writes something else instead of the first pair of classes."""
    return lambda table: table.assign(classes_b=table["classes_b"].replace("cat,dog", pair))


DAMAGE: dict[str, tuple[Edit, str]] = {
    "an unknown class": (renamed("cat,cow"), "'cat,cow' is not a pair of two classes"),
    "one class twice": (renamed("cat,cat"), "'cat,cat' is not a pair of two classes"),
    "a single class": (renamed("cat"), "'cat' is not a pair of two classes"),
    "three classes": (renamed("cat,dog,ship"), "'cat,dog,ship' is not a pair of two classes"),
    "a size of zero": (lambda table: table.assign(train_size="0"), "'0' is not a size"),
    "an infinite size": (lambda table: table.assign(train_size="inf"), "'inf' is not a size"),
    "a size in words": (lambda table: table.assign(train_size="many"), "'many'"),
    "an accuracy above 1": (lambda table: table.assign(test_accuracy="1.5"), "an accuracy is not from 0 to 1"),
    "an accuracy below 0": (lambda table: table.assign(test_accuracy="-0.1"), "an accuracy is not from 0 to 1"),
    "no accuracy": (lambda table: table.assign(test_accuracy=""), "an accuracy is not from 0 to 1"),
    "an infinite number": (lambda table: table.assign(seconds="inf"), "a number is infinite"),
    "a number in words": (lambda table: table.assign(seed="first"), "'first'"),
    "a row twice": (lambda table: pd.concat([table, table.tail(1)]), "a row occurs twice"),
    "a missing column": (lambda table: table.drop(columns="train_loss"), "train_loss"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_results_are_refused_with_the_reason(kind: str, study: Path) -> None:
    edit, reason = DAMAGE[kind]
    edit_results(study, edit)
    with pytest.raises(InvalidRequest, match=r"results\.csv: not what a study writes there") as refused:
        rewrite_study_page(study)
    assert reason in str(refused.value)
    assert "give the command of the study again, which continues from its rows" in str(refused.value)


@pytest.mark.parametrize(
    "changes", [{"networks": "126"}, {"dataset": {}}, {"options": {"data": "digits"}}, {"recipe": {"a": {}}}]
)
def test_a_plan_of_another_structure_is_refused(changes: dict[str, Any], study: Path) -> None:
    write_json(study / "study.json", json.loads((study / "study.json").read_text()) | changes)
    with pytest.raises(InvalidRequest, match=r"study\.json: not what a study writes there"):
        rewrite_study_page(study)


@pytest.mark.parametrize("name", ["results.csv", "summary.csv", "pairs.csv", "study.json"])
def test_a_missing_file_is_refused_by_its_name(name: str, study: Path) -> None:
    (study / name).unlink()
    with pytest.raises(InvalidRequest, match=name):
        rewrite_study_page(study)


def test_a_damaged_row_is_a_failure_with_its_name(study: Path) -> None:
    """The results are complete, so the request is valid: removing the row repairs the study."""
    row = study / "rows" / f"{0:064x}.json"  # its curve is in the page
    row.write_text("{")
    with pytest.raises(ResourceError, match=f"{row.name}: .*; remove it to train the network again"):
        rewrite_study_page(study)


def test_without_rows_everything_but_the_curves_is_drawn(study: Path) -> None:
    for row in (study / "rows").iterdir():
        row.unlink()
    figures = describe(study)["figures"]
    assert len(figures["pair-curves-0"].data) == 0
    assert len(figures["pair-gain-0"].data) == 2


def test_a_network_that_failed_under_two_names_is_counted_once(study: Path) -> None:
    def fail(table: pd.DataFrame) -> pd.DataFrame:
        table.loc[:1, ["error", "key"]] = ["Traceback", table.loc[0, "key"]]
        return table

    edit_results(study, fail)
    shown = describe(study)
    assert (shown["failed"], shown["trained"]) == (1, 126 - 2)


def test_with_one_seed_there_is_no_interval_and_no_p_value(study: Path) -> None:
    edit_results(study, lambda table: table[table["seed"] == "0"])
    rows = re.findall(r"<tr><th scope=\"row\">[^<]* or .*?</tr>", page_of(study), re.DOTALL)
    assert rows
    assert all(row.count(">–<") == 2 for row in rows)
