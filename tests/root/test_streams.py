"""Random streams."""

from __future__ import annotations

import pytest
import torch

from decoct.streams import Streams, derive_seed, seeded


def test_streams_are_independent_of_each_other_and_repeat():
    one, two = Streams(5), Streams(5)
    two("other")
    assert torch.equal(torch.rand(4, generator=one("real")), torch.rand(4, generator=two("real")))
    assert not torch.equal(torch.rand(4, generator=one("a")), torch.rand(4, generator=one("b")))
    assert not torch.equal(torch.rand(4, generator=Streams(6)("a")), torch.rand(4, generator=Streams(5)("a")))


def test_a_saved_state_goes_on_where_it_was():
    streams = Streams(1)
    torch.rand(3, generator=streams("real"))
    state = streams.state_dict()
    following = torch.rand(3, generator=streams("real"))
    again = Streams(1)
    again.load_state_dict(state)
    assert torch.equal(torch.rand(3, generator=again("real")), following)


def test_seeds_depend_on_every_name():
    seeds = {derive_seed(0), derive_seed(1), derive_seed(0, "a"), derive_seed(0, "a", 1), derive_seed(0, "a", 2)}
    assert len(seeds) == 5
    assert all(0 <= seed < 2**63 for seed in seeds)


@pytest.mark.parametrize("fail", [False, True])
def test_seeded_code_leaves_no_trace(fail):
    before = torch.random.get_rng_state()
    try:
        with seeded(3):
            first = torch.rand(2)
            if fail:
                raise KeyError
    except KeyError:
        pass
    assert torch.equal(before, torch.random.get_rng_state())
    with seeded(3):
        assert torch.equal(torch.rand(2), first)
