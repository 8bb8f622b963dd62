"""The pages in a real browser without network access."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from headstart.report.study import rewrite_study_page
from support.runs import HOSTILE, NETWORKS, FinishedRun
from support.studies import GAINS, make_study

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")

Open = Callable[..., Any]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def opening(browser: Any) -> Iterator[Open]:
    """Open files, and wait until they are drawn. Fail if a page loads anything else or reports an error."""
    contexts, wrong = [], []

    def open_file(path: Path, **options: Any) -> Any:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        contexts.append(context)
        context.set_offline(True)

        def allow(route: Any) -> None:
            if route.request.url == path.as_uri():
                route.continue_()
            else:
                wrong.append(route.request.url[:200])
                route.abort()

        context.route("**/*", allow)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda message: wrong.append(message.text))
        page.on("dialog", lambda dialog: wrong.append(dialog.message))
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-ready]", timeout=120_000)
        return page

    yield open_file
    for context in contexts:
        context.close()
    assert wrong == []


@pytest.fixture
def open_page(browser: Any) -> Iterator[Open]:
    with opening(browser) as open_file:
        yield open_file


@pytest.fixture(scope="session")
def study_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return rewrite_study_page(make_study(tmp_path_factory.mktemp("study-page"), classes=HOSTILE))


@pytest.fixture
def run_page(picture_run: FinishedRun) -> Path:
    """Return a page whose class names are hostile."""
    return picture_run.folder / "report.html"


@pytest.fixture(scope="module")
def shown_run(browser: Any, picture_run: FinishedRun) -> Iterator[Any]:
    """The run's page in the browser, for tests that change nothing on it."""
    with opening(browser) as open_file:
        yield open_file(picture_run.folder / "report.html")


@pytest.fixture(scope="module")
def shown_study(browser: Any, study_page: Path) -> Iterator[Any]:
    """The study's page in the browser, for tests that change nothing on it."""
    with opening(browser) as open_file:
        yield open_file(study_page)


def lines(page: Any, chart: str) -> int:
    return int(page.locator(f"#{chart} .scatterlayer .trace").count())


def hover(page: Any, chart: str, x: float = 0.5, y: float = 0.5) -> str:
    """Return what a chart says at a place in its plot, given as fractions of its width and height."""
    page.locator(f"#{chart}").scroll_into_view_if_needed()
    box = page.locator(f"#{chart} .nsewdrag").first.bounding_box()
    page.mouse.move(box["x"] + x * box["width"] - 3, box["y"] + y * box["height"])
    page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
    # Plotly reads the mouse every 50 ms. If a button is down then, it forgets what the mouse points at.
    page.evaluate("new Promise((done) => setTimeout(done, 60))")
    page.wait_for_selector(f"#{chart} .hovertext")
    return " ".join(page.locator(f"#{chart} .hovertext").all_text_contents())


# A run


def test_every_chart_of_a_run_is_drawn(shown_run: Any) -> None:
    charts = shown_run.locator(".chart")
    assert charts.count() == 3 + len(NETWORKS)
    assert all(charts.nth(n).locator("svg.main-svg").count() for n in range(charts.count()))


def test_curves_are_switched_off_and_on(open_page: Open, run_page: Path) -> None:
    page = open_page(run_page)
    assert (lines(page, "accuracy"), lines(page, "loss")) == (8, 8)
    page.get_by_role("checkbox", name="training images").uncheck()
    assert (lines(page, "accuracy"), lines(page, "loss")) == (4, 4)
    page.get_by_role("checkbox", name="Network A").uncheck()
    assert lines(page, "accuracy") == 3
    page.get_by_role("checkbox", name="training images").check()
    assert lines(page, "loss") == 6


def test_curves_are_switched_by_keyboard(open_page: Open, run_page: Path) -> None:
    page = open_page(run_page)
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.value") == "scratch":
            break
    page.keyboard.press("Space")
    assert lines(page, "accuracy") == 6


def test_curves_say_their_values_under_the_mouse(shown_run: Any) -> None:
    said = hover(shown_run, "accuracy", x=2 / 3)
    assert said.count("%") >= 1


def test_a_confusion_matrix_names_both_classes(shown_run: Any) -> None:
    said = hover(shown_run, "confusion-scratch", x=0.75, y=0.25)
    assert f"{HOSTILE[0]} classified as {HOSTILE[1]}: " in said


def test_disagreements_are_selected_by_the_correct_strategy(open_page: Open, digits_run: FinishedRun) -> None:
    page = open_page(digits_run.folder / "report.html")
    items = page.locator("#disagreements [data-right]")
    assert items.count() > 0
    page.get_by_label("Show", exact=True).select_option("not scratch")
    for n in range(items.count()):
        wrong = "scratch" not in str(items.nth(n).get_attribute("data-right")).split()
        assert items.nth(n).is_visible() == wrong
    shown = sum(items.nth(n).is_visible() for n in range(items.count()))
    assert page.locator("#disagreements output").text_content() == f"{shown} images"


def test_on_paper_everything_is_open_and_fits(open_page: Open, run_page: Path) -> None:
    page = open_page(run_page, color_scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("getComputedStyle(document.querySelector('#final .xtick text')).fill") == "rgb(0, 0, 0)"
    assert page.locator("#final svg.main-svg").first.bounding_box()["width"] <= 660
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details[open]").count() == 0


# A study


def test_every_chart_of_a_study_is_drawn(shown_study: Any) -> None:
    charts = shown_study.locator(".chart")
    assert charts.count() == 6
    assert all(charts.nth(n).locator("svg.main-svg").count() for n in range(charts.count()))


def test_a_click_on_the_map_shows_the_pair(open_page: Open, study_page: Path) -> None:
    from playwright.sync_api import expect

    page = open_page(study_page)
    before = page.locator("#pair-gain").inner_html()
    said = hover(page, "map", x=5 / 8, y=1 / 8)  # first row, third column
    assert said.startswith(f"{HOSTILE[0]} or {HOSTILE[2]}: ")
    page.mouse.down()
    page.mouse.up()
    # Not wait_for_function: its second try would be an eval, which the page forbids.
    expect(page.locator("#pair-choice")).to_have_value("1")
    assert page.locator("#pair-choice option:checked").text_content() == f"{HOSTILE[0]} or {HOSTILE[2]}"
    assert page.locator("#pair-gain").inner_html() != before


def test_a_strategy_and_a_pair_are_chosen_by_keyboard(open_page: Open, study_page: Path) -> None:
    page = open_page(study_page)
    before = page.locator("#map").inner_html()
    page.get_by_label("Strategy", exact=True).focus()
    page.keyboard.press("ArrowDown")
    assert page.locator("#map").inner_html() != before
    assert page.locator("#map").get_attribute("data-figure") == "map-1"
    page.get_by_label("Pair", exact=True).select_option("2")
    assert page.locator("#pair-curves").get_attribute("data-figure") == "pair-curves-2"


def test_the_predictors_follow_the_choice_of_the_map(open_page: Open, tmp_path: Path) -> None:
    page = open_page(rewrite_study_page(make_study(tmp_path, strategies=("last_layer",), pairs=5)))
    page.get_by_label("Strategy", exact=True).select_option("1")
    for chart in ("predictor-0", "predictor-1"):
        assert page.locator(f"#{chart}").get_attribute("data-figure") == f"{chart}-1"
        assert page.locator(f"#{chart} .point").count() == 5
    page.locator("#predictor-0 .point").first.hover(force=True)
    page.wait_for_selector("#predictor-0 .hovertext")
    assert " or " in str(page.locator("#predictor-0 .hovertext").text_content())


def test_marks_are_at_their_gain_and_do_not_overlap(open_page: Open, tmp_path: Path) -> None:
    folder = make_study(tmp_path, strategies=("last_layer", "two_layers"))
    results = pd.read_csv(folder / "results.csv", dtype={"train_size": str})
    scratch, one, two = (results["strategy"] == name for name in ("scratch", "last_layer", "two_layers"))
    results.loc[scratch, "test_accuracy"], results.loc[two, "test_accuracy"] = 0.7, 0.705
    results.loc[one, "test_accuracy"] = 0.66 + 0.05 * (results.loc[one, "train_size"] == "5")
    results.to_csv(folder / "results.csv", index=False)
    page = open_page(rewrite_study_page(folder))
    # Where plotly drew them, in the units of the axes: [x, y] of every trace's marks.
    drawn = page.evaluate(
        """() => {
            const {xaxis, yaxis} = document.getElementById("pair-gain")._fullLayout;
            const place = (mark) => mark.getAttribute("transform").match(/-?[0-9.]+/g).map(Number);
            return [...document.querySelectorAll("#pair-gain .trace.scatter")].map((trace) =>
                [...trace.querySelectorAll(".point")].map(place).map(([x, y]) => [xaxis.p2c(x), yaxis.p2c(y)]));
        }"""
    )
    (first, second), (third, fourth) = drawn  # a size, in it one layer and two layers
    gains = [x for x, _ in (first, second, third, fourth)]
    assert gains == pytest.approx([-4.0, 0.5, 1.0, 0.5], abs=0.05)
    assert abs(second[1] - fourth[1]) > 0.1


def test_after_going_back_charts_agree_with_their_choices(open_page: Open, study_page: Path) -> None:
    page = open_page(study_page)
    page.get_by_label("Pair", exact=True).select_option("2")
    page.locator("#depth-view").select_option("accuracy")
    page.get_by_label("Rows with", exact=True).fill("A3B+")
    page.goto("about:blank")
    page.go_back()
    page.wait_for_selector("html[data-ready]", timeout=120_000)
    chosen = page.locator("#pair-choice").input_value()
    assert page.locator("#pair-gain").get_attribute("data-figure") == f"pair-gain-{chosen}"
    view = page.locator("#depth-view").input_value()
    assert page.locator("#depth").get_attribute("data-figure") == f"depth-{view}"
    searched = page.get_by_label("Rows with", exact=True).input_value()
    assert (page.locator("#rows tbody tr:visible").count() == 3 * len(GAINS) * 2) == (searched == "")


def test_gain_turns_into_accuracy(open_page: Open, study_page: Path) -> None:
    page = open_page(study_page)
    for chart in ("depth", "sizes"):
        page.locator(f"#{chart}-view").select_option("accuracy")
        assert "test accuracy (%)" in str(page.locator(f"#{chart} .ytitle").text_content())


def test_lines_are_selected_if_there_are_many(open_page: Open, study_page: Path) -> None:
    page = open_page(study_page)
    assert lines(page, "pair-curves") == 5
    page.locator("[data-toggles='pair-curves'] input[value='B3B']").check()
    assert lines(page, "pair-curves") == 6
    page.get_by_label("Pair", exact=True).select_option("2")
    assert lines(page, "pair-curves") == 6


def test_the_table_is_searched_and_sorted(open_page: Open, study_page: Path) -> None:
    page = open_page(study_page)
    rows = page.locator("#rows tbody tr")
    assert rows.count() == 3 * len(GAINS) * 2
    page.get_by_label("Rows with", exact=True).fill(f"A3B+ {HOSTILE[1]}")
    assert page.locator("#rows tbody tr:visible").count() == 2
    assert page.locator("#table output").text_content() == "2 rows"
    page.get_by_label("Rows with", exact=True).fill("")
    gain = page.get_by_role("button", name="gain, points")
    for direction in ("ascending", "descending"):
        gain.click()
        assert page.locator("#rows th[aria-sort]").get_attribute("aria-sort") == direction
        gains = [float(text) for text in page.locator("#rows tbody td:nth-child(6)").all_text_contents()]
        assert gains == sorted(gains, reverse=direction == "descending")
    page.get_by_role("button", name="size", exact=True).click()  # 1.0 is all images, and more than 5 of a class
    sizes = page.locator("#rows tbody td:nth-child(3)").all_text_contents()
    assert list(dict.fromkeys(sizes)) == ["5", "1.0"]


def test_csv_files_are_downloaded_from_the_page(shown_study: Any, study_page: Path) -> None:
    page = shown_study
    for name in ("results.csv", "summary.csv", "pairs.csv"):
        with page.expect_download() as download:
            page.get_by_role("link", name=f"Download {name}").click()
        assert download.value.suggested_filename == name
        assert Path(download.value.path()).read_bytes() == (study_page.parent / name).read_bytes()


# Both


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("kind", ["run_page", "study_page"])
def test_pages_are_accessible_and_fit_the_screen(
    kind: str, width: int, open_page: Open, request: pytest.FixtureRequest
) -> None:
    """With light and with dark colours, which only the style sheet tells apart."""
    from axe_playwright_python.base import AXE_SCRIPT

    page = open_page(request.getfixturevalue(kind), viewport={"width": width, "height": 844}, bypass_csp=True)
    page.evaluate("document.querySelectorAll('details').forEach((details) => (details.open = true))")
    page.evaluate(AXE_SCRIPT)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        found = page.evaluate("axe.run({resultTypes: ['violations']})")
        assert [(fault["id"], fault["impact"], fault["nodes"][0]["html"]) for fault in found["violations"]] == [], (
            scheme
        )


def test_charts_follow_dark_mode(open_page: Open, run_page: Path) -> None:
    page, colours = open_page(run_page), []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        colours.append(page.evaluate("getComputedStyle(document.querySelector('#final .xtick text')).fill"))
    assert colours == ["rgb(27, 29, 31)", "rgb(230, 232, 234)"]


def test_without_scripts_the_texts_and_tables_are_there(browser: Any, run_page: Path) -> None:
    context = browser.new_context(java_script_enabled=False, offline=True)
    page = context.new_page()
    page.goto(run_page.as_uri())
    assert page.locator("#answer table").first.is_visible()
    context.close()
