from __future__ import annotations

import json
import re
import shlex
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from fixtures_runs import HOSTILE, NETWORKS, FinishedRun
from headstart.errors import BadRequest
from headstart.finished import read_results, read_run
from headstart.report import write_report
from headstart.report.charts import plain

pytest_plugins = ["fixtures_runs"]

EVIL = "<script>alert(1)</script>&\"'"
URL_ATTRIBUTES = {"src", "href", "srcset", "action", "data", "poster", "background", "formaction", "ping", "cite"}


class Page(HTMLParser):
    """A page taken apart: its elements with their attributes, and its text without its scripts'."""

    def __init__(self, folder: Path):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text, self.within, self.scripts = "", "", dict[str, str]()
        self.feed((folder / "report.html").read_text(encoding="utf-8"))
        self.close()
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.within = tag
        self.text += " "

    def handle_endtag(self, tag: str) -> None:
        self.within = ""

    def handle_data(self, data: str) -> None:
        if self.within == "script":
            self.scripts[str(self.elements[-1][1].get("id"))] = data
        elif self.within != "style":
            self.text += data


@pytest.fixture
def folder(digits_run: FinishedRun, tmp_path: Path) -> Path:
    return Path(shutil.copytree(digits_run.folder, tmp_path / "run"))


def changed(folder: Path, **content: Any) -> Page:
    write_report(folder, read_run(folder) | content)
    return Page(folder)


def test_the_answer_comes_first(folder: Path) -> None:
    from headstart.practical.conclusions import describe_best
    from headstart.practical.evaluation import compare

    _, *strategies = read_results(folder, read_run(folder))
    text = Page(folder).text
    best = describe_best(strategies, compare(strategies))
    assert text.index(best) < text.index("How the four networks learned")
    assert text.count(best) == 1
    assert all(paragraph in text for paragraph in read_run(folder)["conclusions"])


def test_the_page_says_what_the_run_found(folder: Path) -> None:
    run = read_run(folder)
    text = Page(folder).text
    for network in run["networks"].values():
        assert f"{network['train_accuracy']:.1%} {network['test_accuracy']:.1%}" in text
    for pair in run["comparison"]["pairs"]:
        low, high = (f"{100 * end:+.1f}" for end in pair["ci95"])
        assert f"{100 * pair['difference']:+.1f} {low} to {high}" in text
    assert all(finding["evidence"] in text for finding in run["audit"])
    assert f"{len(run['audit'])} of {len(run['audit'])} rules hold" in text
    assert "Registration number 2020387499, seed 0" in text


def test_the_command_does_the_same_run_again(digits_run: FinishedRun, picture_run: FinishedRun) -> None:
    for finished in (digits_run, picture_run):
        [line] = re.findall(r"headstart run .*? --precision float32", Page(finished.folder).text)
        words = shlex.split(line)
        assert words[:2] == ["headstart", "run"]
        assert {*finished.arguments} <= {*words}
        assert words[words.index("--seed") + 1] == "0"


def test_every_network_has_its_curves_and_its_confusion_matrix(folder: Path) -> None:
    figures = json.loads(Page(folder).scripts["figures"])
    histories = {trained.name: trained.history for trained in read_results(folder, read_run(folder))}
    for quantity, factor in (("accuracy", 100), ("loss", 1)):
        traces = figures[quantity]["data"]
        assert [(trace["meta"]["network"], trace["meta"]["part"]) for trace in traces] == [
            (name, part) for name in NETWORKS for part in ("train", "test")
        ]
        for trace in traces:
            curve = histories[trace["meta"]["network"]][f"{trace['meta']['part']}_{quantity}"]
            assert trace["y"] == pytest.approx((factor * curve).tolist())
    for name in NETWORKS:
        counts = [
            [int(cell.replace(",", "")) for cell in row] for row in figures[f"confusion-{name}"]["data"][0]["text"]
        ]
        right = sum(row[i] for i, row in enumerate(counts)) / sum(map(sum, counts))
        assert right == pytest.approx(read_run(folder)["networks"][name]["test_accuracy"])


def test_nothing_is_fetched_and_everything_is_inside(folder: Path) -> None:
    page = Page(folder)
    addresses = [
        value for _, attributes in page.elements for name, value in attributes.items() if name in URL_ATTRIBUTES
    ]
    assert all(
        str(address).startswith(("data:image/png;base64,", "data:text/csv;base64,", "#")) for address in addresses
    )
    policies = [attributes.get("content") for tag, attributes in page.elements if tag == "meta"]
    assert any(str(policy).startswith("default-src 'none'; ") for policy in policies)
    assert not {"link", "iframe", "object", "embed", "base"} & {tag for tag, _ in page.elements}
    assert (folder / "report.html").stat().st_size < 6_000_000


def test_no_text_of_a_run_becomes_html(folder: Path) -> None:
    run = read_run(folder)
    evil = {
        "registration": EVIL,
        "dataset": run["dataset"] | {"name": EVIL, "source": EVIL},
        "classes": {"a": [EVIL, *run["classes"]["a"][1:]], "b": [EVIL, "nine"]},
        "conclusions": [EVIL],
        "audit": [{"rule": EVIL, "holds": False, "evidence": EVIL}],
        "environment": {EVIL: EVIL},
        "request": run["request"] | {"precision_reason": EVIL, "data": EVIL},
    }
    page = changed(folder, **evil)
    assert EVIL in page.text
    assert len([tag for tag, _ in page.elements if tag == "script"]) == 3
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert "<script>alert" not in (folder / "report.html").read_text(encoding="utf-8")


def test_plotly_is_given_no_html() -> None:
    assert plain('<b onclick="x">&amp;</b>') == '&lt;b onclick="x"&gt;&amp;amp;&lt;/b&gt;'
    assert plain("<" * 20, longest=14) == "&lt;" * 13 + "…"


def test_hostile_class_names_are_text(picture_run: FinishedRun) -> None:
    page = Page(picture_run.folder)
    assert all(name in page.text for name in HOSTILE)
    assert "<script>alert" not in (picture_run.folder / "report.html").read_text(encoding="utf-8")


def test_a_run_of_named_classes_has_no_registration_number(picture_run: FinishedRun) -> None:
    text = Page(picture_run.folder).text
    assert "Registration" not in text
    assert "None" not in text


def test_a_rule_that_does_not_hold_is_seen_at_once(folder: Path) -> None:
    audit = read_run(folder)["audit"]
    page = changed(folder, audit=[*audit[1:], audit[0] | {"holds": False}])
    assert f"The audit: {len(audit) - 1} of {len(audit)} rules hold" in page.text
    assert f"Does not hold: {audit[0]['rule']} (" in page.text


def test_what_is_not_in_the_folder_is_said(folder: Path) -> None:
    (folder / "disagreements.npz").unlink()
    (folder / "models" / "a.keras").unlink()
    text = changed(folder).text
    assert "The images themselves are not in this run’s folder" in text
    assert "They cannot be shown:" in text


def test_disagreements_of_another_run_are_refused(folder: Path, picture_run: FinishedRun) -> None:
    import numpy as np

    np.savez(folder / "disagreements.npz", indices=np.array([10**6]), images=np.zeros((1, 32, 32, 3), np.uint8))
    with pytest.raises(BadRequest, match=r"disagreements\.npz: not of this run"):
        write_report(folder, read_run(folder))


def test_equal_runs_have_equal_pages(folder: Path) -> None:
    before = (folder / "report.html").read_bytes()
    assert write_report(folder, read_run(folder)).read_bytes() == before


def test_a_page_that_cannot_be_written_leaves_the_old_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (folder / "report.html").read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_report(folder, read_run(folder) | {"seed": 7})
    assert (folder / "report.html").read_bytes() == before
    assert not [path for path in folder.iterdir() if path.name.endswith(".part")]
