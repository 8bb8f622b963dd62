from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from headstart.practical.environment import in_points, readable
from headstart.practical.evaluation import compare
from headstart.practical.training import Trained


def test_a_difference_is_shown_in_points_with_its_sign(make_trained: Callable[..., Trained]) -> None:
    scratch = make_trained("scratch", 800, 1000)
    pairs = compare([scratch, make_trained("last_layer", 785, 1000), make_trained("two_layers", 803, 1000)])
    shown = readable(in_points(pairs)).to_html()
    assert ">-1.5<" in shown
    assert ">+0.3<" in shown
    assert ">difference (points)<" in shown
    assert pairs["difference"].tolist() == [-0.015, 0.003, 0.018]  # untouched


def test_shares_are_shown_as_percentages_and_names_without_underscores() -> None:
    shown = readable(pd.DataFrame({"test_accuracy": [0.8763], "seconds": [1505.4]})).to_html()
    assert ">87.6%<" in shown
    assert ">1,505<" in shown
    assert ">test accuracy<" in shown
