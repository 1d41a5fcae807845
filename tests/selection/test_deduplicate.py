"""Near duplicates: what is kept, what it stands for, and in which order the selector takes rows."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cosine_similarity

from decoct.errors import ConfigError, DataError
from decoct.selection.deduplicate import SemDeDup, deduplicate


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _copies(n: int = 20, times: int = 3) -> torch.Tensor:
    """Rows n apart, each `times` times with a little noise."""
    rows = torch.randn(n, 16, generator=_generator()).repeat(times, 1)
    return rows + 0.001 * torch.randn(rows.shape, generator=_generator(1))


def test_of_every_group_of_copies_one_is_kept() -> None:
    found = deduplicate(_copies(), 0.01, _generator())
    assert sorted((found.kept.nonzero()[:, 0] % 20).tolist()) == list(range(20))
    assert (found.original % 20 == torch.arange(60) % 20).all()
    assert found.kept[found.original].all()


@pytest.mark.parametrize("eps", [0.0, 0.05, 0.3, 1.0])
def test_no_two_kept_rows_are_near_and_all_others_are(eps: float) -> None:
    phi = torch.randn(80, 3, generator=_generator())
    found = deduplicate(phi, eps, _generator())
    cosine = cosine_similarity(phi[:, None], phi[None], dim=2).fill_diagonal_(-1)
    kept = found.kept.nonzero()[:, 0]
    assert float(cosine[kept][:, kept].max()) < 1 - eps + 1e-5
    left_out = (~found.kept).nonzero()[:, 0]
    assert (cosine[left_out, found.original[left_out]] >= 1 - eps - 1e-5).all()
    torch.testing.assert_close(found.redundancy[left_out], cosine[left_out][:, kept].amax(1))


def test_with_an_eps_of_zero_equal_rows_alone_are_left_out() -> None:
    phi = torch.randn(10, 8, generator=_generator())
    assert deduplicate(phi, 0.0, _generator()).kept.all()
    assert int(deduplicate(phi.repeat(2, 1), 0.0, _generator()).kept.sum()) == 10


def test_clusters_are_looked_at_on_their_own() -> None:
    phi = torch.cat([_copies(10, 4) + 20, -_copies(10, 4) - 20])
    found = deduplicate(phi, 0.5, _generator(), cluster_rows=40)
    assert [int(part.sum()) for part in found.kept.split(40)] == [1, 1]


def test_the_selector_takes_every_group_before_any_copy() -> None:
    picks = SemDeDup(eps=0.01).pick(_copies(), 60, _generator())
    assert sorted((picks.rows[:20] % 20).tolist()) == list(range(20))
    assert (picks.scores[:20] < 0.99).all()
    assert (picks.scores[20:] > 0.99).all()
    assert picks.scores[0] == -1
    assert picks.scores.tolist() == sorted(picks.scores.tolist())


def test_the_first_picks_are_what_removal_leaves_where_a_row_stands_between_two_others() -> None:
    """cos ab = .8, bc = .81, ac = .5; copies of c pull the middle to it, so a is the outermost row and b the next."""
    alike = torch.tensor([[1.0, 0.8, 0.5], [0.8, 1.0, 0.81], [0.5, 0.81, 1.0]], dtype=torch.float64)
    phi = torch.linalg.cholesky(alike).float()[[0, 1, 2, 2, 2]]
    found = deduplicate(phi, 0.25, _generator())
    assert found.kept.tolist() == [True, False, True, False, False]
    assert found.original.tolist() == [0, 2, 2, 2, 2]
    picks = SemDeDup().pick(phi, 3, _generator())
    assert picks.rows.tolist() == [0, 2, 1]
    torch.testing.assert_close(picks.scores, torch.tensor([-1.0, 0.5, 0.81]))


@pytest.mark.parametrize("cluster_rows", [2048, 30])
def test_the_first_picks_are_what_removal_with_a_larger_eps_leaves(cluster_rows: int) -> None:
    phi = torch.randn(90, 3, generator=_generator())
    picks = SemDeDup(eps=0.001, cluster_rows=cluster_rows).pick(phi, 80, _generator())
    assert picks.scores.tolist() == sorted(picks.scores.tolist())
    compared = 0
    for k in (5, 17, 40, 79):
        before, after = picks.scores[k - 1 : k + 1].tolist()
        if after - before > 1e-5:
            found = deduplicate(phi, 1 - (before + after) / 2, _generator(), cluster_rows)
            assert set(found.kept.nonzero()[:, 0].tolist()) == set(picks.rows[:k].tolist())
            compared += 1
        fewer = SemDeDup(eps=0.001, cluster_rows=cluster_rows).pick(phi, k, _generator())
        assert fewer.rows.tolist() == picks.rows[:k].tolist()
    assert compared >= 3


def test_bad_settings_and_features_are_refused() -> None:
    for eps, cluster_rows in ((-0.1, 10), (2.1, 10), (0.1, 0)):
        with pytest.raises(ConfigError, match="cosine distance from 0"):
            deduplicate(torch.eye(3), eps, _generator(), cluster_rows)
    with pytest.raises(DataError, match="NaN"):
        deduplicate(torch.full((2, 2), torch.nan), 0.1, _generator())
