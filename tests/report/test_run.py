from __future__ import annotations

import json
import re
import shlex
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from headstart.errors import InvalidRequest
from headstart.report.charts import plain
from headstart.report.run import write_run_page
from headstart.runs.reader import read_results, read_run
from support.runs import HOSTILE, NETWORKS, FinishedRun, command, contents

EVIL = "<script>alert(1)</script>&\"'"
URL_ATTRIBUTES = {"src", "href", "srcset", "action", "data", "poster", "background", "formaction", "ping", "cite"}


class Page(HTMLParser):
    """The elements of a page with their attributes, its text, and its scripts."""

    def __init__(self, folder: Path):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text, self.within, self.scripts = "", "", dict[str, str]()
        self.leads: list[str] = []  # the text of its elements of the class "lead"
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
            if self.within and self.elements[-1][1].get("class") == "lead":
                self.leads.append(data)


@pytest.fixture
def folder(digits_run: FinishedRun, tmp_path: Path) -> Path:
    return Path(shutil.copytree(digits_run.folder, tmp_path / "run"))


def changed(folder: Path, **content: Any) -> Page:
    """Write the page with some other content, and parse it."""
    write_run_page(folder, read_run(folder) | content)
    return Page(folder)


def test_the_answer_starts_with_cautions_and_the_first_conclusion(folder: Path) -> None:
    run = read_run(folder)
    [caution], [lead, *others] = run["cautions"], run["conclusions"]
    assert "digits, not CIFAR-10" in caution
    page = Page(folder)
    assert page.leads == [lead]
    assert page.text.count(lead) == 1
    after = [page.text.index(paragraph) for paragraph in (caution, lead, *others, "How the four networks learned")]
    assert after == sorted(after)


def test_without_a_caution_the_answer_starts_with_the_lead(picture_run: FinishedRun) -> None:
    run, page = read_run(picture_run.folder), Page(picture_run.folder)
    assert run["cautions"] == []
    assert page.leads == run["conclusions"][:1]
    assert f"The answer {run['conclusions'][0]}" in page.text


def test_intervals_and_p_values_are_named_with_their_method(folder: Path) -> None:
    text = Page(folder).text
    assert "95% interval, uncorrected p (mid-p McNemar, Holm) significant?" in text
    for pair in read_run(folder)["comparison"]["pairs"]:
        shown = "< 0.001" if pair["p_value"] < 0.001 else f"{pair['p_value']:.3f}"
        assert f"{100 * pair['ci95'][1]:+.1f} {shown} {'yes' if pair['significant'] else 'no'}" in text


def test_the_description_of_each_network_is_that_of_the_run(folder: Path) -> None:
    text = Page(folder).text
    assert all(network["words"] in text for network in read_run(folder)["networks"].values())
    run = read_run(folder)
    run["networks"]["scratch"]["words"] = EVIL
    assert EVIL in changed(folder, networks=run["networks"]).text


def test_the_page_has_all_results_of_the_run(folder: Path) -> None:
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


def command_of(page: Page) -> list[str]:
    """Return the words of the command that executes the run again."""
    [line] = re.findall(r"(headstart run .*?) Data: ", page.text)
    return shlex.split(line)


def test_the_command_executes_the_same_run_again(digits_run: FinishedRun, picture_run: FinishedRun) -> None:
    for finished in (digits_run, picture_run):
        words = command_of(Page(finished.folder))
        assert words[:2] == ["headstart", "run"]
        recipe = {argument for argument in finished.arguments if argument.endswith("small.json")}  # it is in the folder
        assert {*finished.arguments} - recipe <= {*words}
        assert words[words.index("--seed") + 1] == "0"


def test_the_command_names_a_recipe_that_is_not_the_default(
    digits_run: FinishedRun, picture_run: FinishedRun, tmp_path: Path
) -> None:
    assert command_of(Page(digits_run.folder))[-2:] == ["--recipe", "recipe.json"]
    assert "--recipe" not in command_of(Page(picture_run.folder))
    folder = shutil.copytree(picture_run.folder, tmp_path / "run")
    recipe = read_run(folder)["recipe"]
    for part, other in (("a", {"shift": 3}), ("b", {"dropout": [0.1, 0.3]})):
        page = changed(folder, recipe=recipe | {part: recipe[part] | other})
        assert command_of(page)[-2:] == ["--recipe", "recipe.json"]


def test_the_command_in_the_runs_folder_finds_the_finished_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = command_of(Page(folder))
    before = contents(folder)
    monkeypatch.chdir(folder)
    ended = command(*words[1:], "--out", ".")
    assert (ended.status, ended.errors) == (0, "")
    assert "epoch 1 of" not in ended.output
    assert contents(folder) == before


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


def test_the_layers_of_network_a_are_in_a_table(folder: Path) -> None:
    text = Page(folder).text
    assert "random_translation RandomTranslation 32 × 32 × 3 0 conv1 Conv2D relu 32 × 32 × 8 224 pool1" in text
    assert "fc2 Dense softmax 8 264" in text  # 32 units and a bias for each of eight classes


def test_the_page_loads_nothing_from_elsewhere(folder: Path) -> None:
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


def test_all_texts_of_a_run_are_escaped(folder: Path) -> None:
    run = read_run(folder)
    evil = {
        "registration": EVIL,
        "dataset": run["dataset"] | {"name": EVIL, "source": EVIL},
        "classes": {"a": [EVIL, *run["classes"]["a"][1:]], "b": [EVIL, "nine"]},
        "cautions": [EVIL],
        "conclusions": [EVIL, EVIL],
        "audit": [{"rule": EVIL, "holds": False, "evidence": EVIL}],
        "environment": {EVIL: EVIL},
        "request": run["request"] | {"precision_reason": EVIL, "data": EVIL},
    }
    page = changed(folder, **evil)
    assert EVIL in page.text
    assert len([tag for tag, _ in page.elements if tag == "script"]) == 3
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert "<script>alert" not in (folder / "report.html").read_text(encoding="utf-8")


def test_plotly_gets_escaped_text() -> None:
    assert plain('<b onclick="x">&amp;</b>') == '&lt;b onclick="x"&gt;&amp;amp;&lt;/b&gt;'
    assert plain("<" * 20, longest=14) == "&lt;" * 13 + "…"


def test_hostile_class_names_are_escaped(picture_run: FinishedRun) -> None:
    page = Page(picture_run.folder)
    assert all(name in page.text for name in HOSTILE)
    assert "<script>alert" not in (picture_run.folder / "report.html").read_text(encoding="utf-8")


def test_a_run_of_named_classes_has_no_registration_number(picture_run: FinishedRun) -> None:
    text = Page(picture_run.folder).text
    assert "Registration" not in text
    assert "None" not in text


def test_a_broken_rule_is_reported_in_the_heading(folder: Path) -> None:
    audit = read_run(folder)["audit"]
    page = changed(folder, audit=[*audit[1:], audit[0] | {"holds": False}])
    assert f"The audit: {len(audit) - 1} of {len(audit)} rules hold" in page.text
    assert f"Broken: {audit[0]['rule']} (" in page.text


def test_missing_files_of_a_run_are_named(folder: Path) -> None:
    (folder / "disagreements.npz").unlink()
    (folder / "models" / "a.keras").unlink()
    text = changed(folder).text
    assert "The images are not in this run’s folder" in text
    assert "They cannot be shown:" in text


def test_disagreements_of_another_run_are_refused(folder: Path) -> None:
    import numpy as np

    np.savez(folder / "disagreements.npz", indices=np.array([10**6]), images=np.zeros((1, 32, 32, 3), np.uint8))
    with pytest.raises(InvalidRequest, match=r"disagreements\.npz: .*it belongs to another run"):
        write_run_page(folder, read_run(folder))


def test_equal_runs_have_equal_pages(folder: Path) -> None:
    before = (folder / "report.html").read_bytes()
    assert write_run_page(folder, read_run(folder)).read_bytes() == before


def test_a_page_that_cannot_be_written_does_not_replace_the_old(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (folder / "report.html").read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_run_page(folder, read_run(folder) | {"seed": 7})
    assert (folder / "report.html").read_bytes() == before
    assert not [path for path in folder.iterdir() if path.name.endswith(".part")]
