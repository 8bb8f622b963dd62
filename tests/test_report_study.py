from __future__ import annotations

import base64
import json
import re
import shlex
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from fixtures_studies import make_study
from headstart.errors import BadRequest
from headstart.recipes import RECIPE_A, RECIPE_B
from headstart.report import write_study_report
from headstart.report.study import describe_study
from headstart.store import write_json
from headstart.study.closeness import closeness
from headstart.study.conclusions import conclude
from headstart.study.summary import differences, verdicts

pytest_plugins = ["fixtures_studies"]


def test_the_figures_are_those_of_the_summary(study: Path) -> None:
    shown = describe_study(study)
    summary = pd.read_csv(study / "summary.csv", dtype={"train_size": str})
    assert [row["strategy"] for row in shown["summary"]] == summary["strategy"].tolist()
    for trace in shown["figures"]["overview"].data:
        size = trace.name.removeprefix("size ")
        rows = summary[summary["train_size"] == size]
        assert list(trace.x) == pytest.approx((100 * rows["difference"]).tolist(), abs=0.006)
        assert list(trace.error_x.array) == pytest.approx(
            (100 * (rows["high"] - rows["difference"])).tolist(), abs=0.006
        )


def test_the_answer_is_what_gains_most_and_least(study: Path) -> None:
    shown = describe_study(study)
    assert shown["lead"][0].startswith("The largest of 12 gains: “A3B+” at size 5")
    assert shown["lead"][1].startswith("The smallest: “last_layer” at size 1.0")


def test_every_pair_has_its_figures_and_a_cell_of_the_map_names_it(study: Path) -> None:
    shown = describe_study(study)
    assert len(shown["pairs"]) == 3
    [grid] = shown["figures"]["map-0"].data
    for number, (first, second) in enumerate(shown["pairs"]):
        i, j = (shown["study"]["dataset"]["class_names"].index(name) for name in (first, second))
        assert grid.customdata[i][j] == grid.customdata[j][i] == number
        assert {f"pair-gain-{number}", f"pair-curves-{number}"} <= shown["figures"].keys()


def test_curves_are_the_mean_over_the_seeds(study: Path) -> None:
    [scratch] = [t for t in describe_study(study)["figures"]["pair-curves-0"].data if t.meta["line"] == "scratch"]
    assert list(scratch.x) == [1, 2]
    assert list(scratch.y) == pytest.approx([50, 90], abs=2)


def test_there_is_a_chart_by_depth_and_one_by_size_only_where_they_were_studied(tmp_path: Path) -> None:
    both = describe_study(make_study(tmp_path / "both"))["figures"]
    assert {"depth-gain", "depth-accuracy", "sizes-gain", "sizes-accuracy"} <= both.keys()
    neither = describe_study(make_study(tmp_path / "neither", strategies=("last_layer",), sizes=("1.0",)))["figures"]
    assert not [name for name in neither if name.startswith(("depth", "sizes"))]


def test_five_pairs_are_shown_by_what_may_predict_their_gain(tmp_path: Path) -> None:
    folder = make_study(tmp_path / "five", pairs=5)
    shown, judged = (
        describe_study(folder),
        verdicts(differences(pd.read_csv(folder / "results.csv", dtype={"train_size": str}))),
    )
    assert shown["predictors"] == ["error from scratch (%)", "closeness in meaning to part A's classes"]
    for n, (strategy, size) in enumerate(shown["maps"]):
        group = judged[(judged["strategy"] == strategy) & (judged["train_size"] == size)]
        (by_error,), (by_closeness,) = (shown["figures"][f"predictor-{k}-{n}"].data for k in (0, 1))
        assert list(by_error.x) == pytest.approx((100 * (1 - group["scratch_accuracy"])).tolist(), abs=1e-4)
        assert (
            list(by_closeness.y) == list(by_error.y) == pytest.approx((100 * group["difference"]).tolist(), abs=0.006)
        )
    assert by_closeness.x[0] == pytest.approx(closeness(["cat", "dog"], ["cat", "dog", "frog", "ship"]), abs=1e-4)
    assert by_error.hovertext[0].startswith("cat or dog: ")


def test_other_classes_have_no_closeness_and_four_pairs_no_predictors(tmp_path: Path) -> None:
    other = describe_study(make_study(tmp_path / "other", classes=("a", "b", "c", "d"), pairs=5))
    assert other["predictors"] == ["error from scratch (%)"]
    four = describe_study(make_study(tmp_path / "four", pairs=4))
    assert not [name for name in (*four["predictors"], *four["figures"]) if "predictor" in name]


def test_the_csv_files_are_inside_the_page(study: Path) -> None:
    page = write_study_report(study).read_text(encoding="utf-8")
    for name in ("results.csv", "summary.csv", "pairs.csv"):
        [content] = re.findall(f'href="data:text/csv;base64,([^"]*)" download="{name}"', page)
        assert base64.b64decode(content) == (study / name).read_bytes()
    assert len(page) < 6_000_000


def test_a_file_too_large_to_be_inside_is_left_next_to_the_page(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headstart.report.study.MOST_BYTES_INSIDE", 2000)
    page = write_study_report(study).read_text(encoding="utf-8")
    assert "results.csv is beside this page" in page
    assert 'download="summary.csv"' in page


def test_the_command_does_the_same_study_again(study: Path) -> None:
    words = shlex.split(describe_study(study)["command"])
    assert words[:4] == ["headstart", "study", "--pairs", "cat,dog+a b"]
    assert words[words.index("--train-sizes") + 1] == "1.0,5"
    assert "--precision-reason" not in words


def test_the_command_of_a_study_with_its_own_recipe_names_the_file_in_the_folder(tmp_path: Path) -> None:
    for recipe_b, option in ((RECIPE_B, []), (replace(RECIPE_B, learning_rate=0.001), ["--recipe", "recipe.json"])):
        words = shlex.split(describe_study(make_study(tmp_path, recipes=(RECIPE_A, recipe_b)))["command"])
        assert words[words.index("float32") + 1 :] == option


def test_the_command_of_a_study_that_fell_back_to_the_digits_names_them(study: Path) -> None:
    content = json.loads((study / "study.json").read_text())
    content["asked"]["data"] = "auto"
    for name, data in (
        ("scikit-learn digits, not CIFAR-10, 0.1 of its training images", "digits"),
        ("CIFAR-10", "cifar10"),
    ):
        content["dataset"]["name"] = name
        write_json(study / "study.json", content)
        assert f"--data {data}" in describe_study(study)["command"]


def test_the_conclusions_are_all_there(study: Path) -> None:
    results = pd.read_csv(study / "results.csv", dtype={"train_size": str}, keep_default_na=False)
    shown = describe_study(study)
    assert shown["conclusions"] == conclude(
        results, shown["study"]["dataset"]["class_names"], len(results), "made-up images"
    )


def test_a_loss_that_is_not_finite_is_reported(study: Path) -> None:
    results = pd.read_csv(study / "results.csv", dtype={"train_size": str})
    results.loc[0, "test_loss"] = None
    results.to_csv(study / "results.csv", index=False)
    assert any(
        "The loss of 1 networks is not finite" in paragraph for paragraph in describe_study(study)["conclusions"]
    )


def test_a_study_that_is_not_done_says_so(study: Path) -> None:
    planned = json.loads((study / "study.json").read_text())
    assert (
        f" of {planned['networks']}"
        not in write_study_report(study).read_text(encoding="utf-8").partition("networks trained")[0][-20:]
    )
    write_json(study / "study.json", {**planned, "networks": 999})
    page = write_study_report(study).read_text(encoding="utf-8")
    assert "126 of 999 networks trained" in page
    assert "873 of 999 networks are not trained" in page


def test_class_names_are_text(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>"
    page = write_study_report(make_study(tmp_path, classes=(evil, "null", "nan", "$x$"))).read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; or null" in page


def test_a_study_that_has_only_begun_has_a_page(tmp_path: Path) -> None:
    folder = make_study(tmp_path, strategies=())
    page = write_study_report(folder).read_text(encoding="utf-8")
    assert "Nothing can be concluded" in page


@pytest.mark.parametrize("name", ["results.csv", "study.json"])
@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"a,b\n1,2\n", b"[]"])
def test_a_torn_file_is_refused_by_name(name: str, content: bytes, study: Path) -> None:
    (study / name).write_bytes(content)
    with pytest.raises(BadRequest, match=name):
        write_study_report(study)


@pytest.mark.parametrize("name", ["results.csv", "summary.csv", "pairs.csv", "study.json"])
def test_a_missing_file_is_refused_by_name(name: str, study: Path) -> None:
    (study / name).unlink()
    with pytest.raises(BadRequest, match=name):
        write_study_report(study)


def test_rows_that_are_gone_leave_the_rest(study: Path) -> None:
    for row in (study / "rows").iterdir():
        row.unlink()
    assert len(describe_study(study)["figures"]["pair-curves-0"].data) == 0


def test_a_network_that_failed_under_two_names_is_one(study: Path) -> None:
    results = pd.read_csv(study / "results.csv", keep_default_na=False, dtype=str)
    results.loc[:1, ["error", "key"]] = ["Traceback", results.loc[0, "key"]]
    results.to_csv(study / "results.csv", index=False)
    shown = describe_study(study)
    assert (shown["failed"], shown["trained"]) == (1, len(results) - 2)


def test_for_a_study_without_results_the_message_says_that_its_command_uses_the_rows_that_are_there(
    study: Path,
) -> None:
    (study / "results.csv").unlink()
    with pytest.raises(BadRequest, match="which goes on from its rows"):
        describe_study(study)


def test_where_chance_has_no_measure_there_is_no_p_value(tmp_path: Path) -> None:
    folder = make_study(tmp_path)
    results = pd.read_csv(folder / "results.csv")
    results[results["seed"] == 0].to_csv(folder / "results.csv", index=False)
    page = write_study_report(folder).read_text(encoding="utf-8")
    rows = re.findall(r"<tr><th scope=\"row\">[^<]* or .*?</tr>", page, re.DOTALL)
    assert rows
    assert all(row.count(">–<") == 2 for row in rows)
