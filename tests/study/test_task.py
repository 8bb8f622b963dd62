"""A worker's task: one network, its row and, for a source, its weights."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import pytest

from headstart.study.plan import NetworkSpec, Plan
from headstart.study.results import ResultStore
from headstart.study.subsets import take_subset
from headstart.training.recipes import Recipe
from support.clusters import results_of, train_without_cluster

if TYPE_CHECKING:
    from headstart.practical.data import Dataset

Finished = tuple[Plan, ResultStore]


def test_every_condition_has_a_row_of_its_network(finished: Finished, digits: Dataset) -> None:
    plan, store = finished
    results = results_of(plan, store, digits)
    assert len(results) == len(plan.conditions) == 1 + 2 * 5
    assert results["error"].eq("").all()
    assert results["classes_b"].eq("four,nine").all()
    by_name = results.set_index(["strategy", "train_size", "seed"]).sort_index()
    assert by_name.loc[("last_layer", "1.0", 0), "key"] == by_name.loc[("A5B", "1.0", 0), "key"]
    assert by_name.loc[("a", "1.0", 0), "train_images"] == (~np.isin(digits.y_train, (4, 9))).sum()
    assert (results[results["train_size"] == "8"]["train_images"] == 16).all()
    assert results["test_accuracy"].between(0, 1).all()


def test_a_source_has_one_point_of_its_curve_and_a_strategy_all(finished: Finished, digits: Dataset) -> None:
    results = results_of(*finished, digits)
    sources = results["strategy"].isin(["a", "b"])
    assert results.loc[sources, "curve"].map(len).tolist() == [1] * 3
    assert set(results.loc[~sources, "curve"].map(len)) == {2}
    assert [curve[-1] for curve in results["curve"]] == results["test_accuracy"].tolist()


def test_a_row_is_what_the_same_functions_give_without_a_cluster(
    finished: Finished, digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, store = finished
    [network] = [
        condition.network
        for condition in plan.conditions
        if condition.strategy == "last_layer" and condition.network.train_size == "8"
    ]
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):  # more threads would add in another order
        monkeypatch.setenv(name, "1")
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        expected = pool.submit(train_without_cluster, network, digits).result()
    row = store.read(network.key)
    assert row is not None
    assert (row["test_loss"], row["curve"]) == expected


def test_a_loss_that_is_not_finite_is_stored_as_none(make_trained: Callable[..., Any]) -> None:
    from headstart.study.task import describe

    trained = make_trained(curves={"test_loss": [float("inf")] * 5}, train_loss=float("nan"))
    row = describe(trained, 17)
    assert (row["test_loss"], row["train_loss"], row["train_images"], row["test_images"]) == (None, None, 17, 100)


def test_networks_do_not_accumulate_in_a_worker(digits: Dataset) -> None:
    from headstart.study.task import train_network

    recipe = Recipe(widths=(2, 2, 2, 256), units=2048, epochs=1, batch_size=128, shift=0)
    spec, few, memory = NetworkSpec((4, 9), 0, recipe, "digits", part="a"), take_subset(digits, "8", 0), []
    for _ in range(5):
        _, source = train_network(spec, few, None)
        memory.append(psutil.Process().memory_info().rss)
    assert source is not None
    weights = sum(array.nbytes for array in source.weights)  # a training needs four times as much
    assert memory[-1] - memory[1] < 3 * 0.8 * weights
