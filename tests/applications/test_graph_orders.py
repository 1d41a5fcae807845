"""Orders of filters as one call and one command: numbers that follow from the losses, what is kept, refusals."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_graph_search import SEARCH, block_model

from decoct.analysis.finding import Finding
from decoct.applications import graph_orders
from decoct.applications.graph_model import FILTERS, Model
from decoct.applications.graph_orders import candidate_names, order_filters
from decoct.applications.graph_search import condense, orders
from decoct.cli.main import main
from decoct.data.graph import Graph, open_graph
from decoct.errors import BudgetError, ConfigError, UnknownNameError

QUICK = replace(SEARCH, steps=3)


def saved(graph: Graph, path: Path) -> Path:
    rows, columns = graph.features.nonzero().T.numpy()
    np.savez(
        path, n=np.array(graph.features.shape), feat_row=rows, feat_col=columns,
        feat_val=graph.features[rows, columns].numpy(), edges=graph.edges.numpy(), y=graph.labels.numpy(),
        train_idx=graph.train.numpy(), val_idx=graph.val.numpy(), test_idx=graph.test.numpy(),
    )  # fmt: skip
    return path


def test_numbers_are_those_of_the_parts_and_nothing_is_measured_twice(tmp_path, monkeypatch):
    graph = block_model()
    found = order_filters(graph, ["random", "hcdc"], QUICK, per_class=2, seeds=2, out=tmp_path)
    model = Model(graph, QUICK)
    weights = [model.fit(u) for u in QUICK.grid()]
    points = model.points(0)
    parts = {name: [condense(model, name, 2, seed, points) for seed in range(2)] for name in ("random", "hcdc")}
    expected = orders(model, parts, weights)
    for one in found.orderings:
        assert one.agreement == expected[one.name]
        assert one.nodes == 6
        assert one.choice == found.candidates[int(np.argmin(one.losses))]
    assert found.truth == pytest.approx(
        [float(model.val_loss(w, u)) for w, u in zip(weights, QUICK.grid(), strict=True)]
    )
    assert found.best == found.candidates[int(np.argmin(found.truth))]
    finding = Finding.from_json(json.loads(json.dumps(found.finding().to_json())))
    assert found.best in finding.sentence
    assert [row["condensed by"] for row in finding.rows] == ["random", "hcdc"]

    monkeypatch.setattr(graph_orders, "Model", lambda *_: pytest.fail("trained again"))
    assert order_filters(graph, ["random", "hcdc"], QUICK, per_class=2, seeds=2, out=tmp_path) == found


def test_candidates_are_named_in_the_order_of_the_grid():
    names = candidate_names(QUICK)
    assert len(names) == len(QUICK.grid()) == 18
    assert names[0] == "features alone, decay 1.0e-05"
    assert names[-1] == f"{list(FILTERS)[-1]}, decay 1.0e-01"
    continuous = replace(QUICK, discrete=False, candidates=4)
    first = continuous.coefficients(continuous.grid()[0])
    assert candidate_names(continuous)[0].startswith(f"{float(first[0]):+.2f} {float(first[1]):+.2f} ")


def test_the_features_that_most_nodes_have_are_kept():
    graph = block_model(4)
    features = torch.zeros(12, 3)
    features[:, 2] = 1.0
    features[:5, 0] = 3.0
    kept = replace(graph, features=features).most_frequent(2)
    assert kept.features[0].tolist() == [0.25, 0.75]
    assert kept.features[11].tolist() == [1.0, 0.0]
    assert kept.key() != graph.key()


def test_the_command_prints_order_and_regret_and_writes_a_report(tmp_path, capfd):
    path = saved(block_model(), tmp_path / "blocks.npz")
    opened = open_graph(path)
    assert torch.allclose(opened.features, block_model().features, atol=1e-6)
    out = tmp_path / "filters"
    small = ["--decays", "2", "--starts", "9", "--length", "1", "--steps", "2", "--seeds", "1", "--out", str(out)]
    assert main(["apply", "graph", str(path), *small]) == 0
    said = capfd.readouterr().out
    assert "Spearman" in said
    assert "regret, nats" in said
    assert main(["apply", "graph", str(path), *small, "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert found["application"] == "graph"
    assert [one["name"] for one in found["orderings"]] == ["random", "distribution", "hcdc"]
    assert json.loads((out / "graph.json").read_text())["truth"] == found["truth"]
    assert main(["report", str(out), "--out", str(tmp_path / "again.html")]) == 0
    for page in (out / "report.html", tmp_path / "again.html"):
        text = page.read_text()
        assert "a graph of" in text
        assert "None" not in text
    assert "regret, nats" in (tmp_path / "again.html").read_text()
    capfd.readouterr()
    assert main(["apply", "graph", str(tmp_path / "none.npz"), "--json"]) == 2
    assert json.loads(capfd.readouterr().out)["error"]["kind"] == "SourceError"


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        ({"methods": ["hcdk"]}, UnknownNameError, "did you mean 'hcdc'"),
        ({"methods": []}, ConfigError, "methods: none"),
        ({"seeds": 0}, ConfigError, "seeds: 0"),
        ({"per_class": 0}, ConfigError, "nodes of each class: 0"),
        ({"methods": ["random"], "per_class": 99}, BudgetError, "99 nodes of each class"),
    ],
)
def test_bad_requests(changes, error, text):
    with pytest.raises(error, match=text):
        order_filters(block_model(), search=QUICK, **changes)
