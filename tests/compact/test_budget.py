from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from untyped import as_callers_do

from decoct.compact.budget import Budget
from decoct.errors import BudgetError, ConfigError

SIZES = st.lists(st.integers(0, 40), min_size=1, max_size=12).filter(lambda sizes: sum(sizes) > 0)


def counts(*sizes: int) -> torch.Tensor:
    return torch.tensor(sizes, dtype=torch.int64)


@settings(deadline=None, max_examples=60)
@given(sizes=SIZES, share=st.floats(0.0, 1.0), balance=st.sampled_from(["class", "global"]))
def test_a_total_is_met_exactly_and_no_class_is_overdrawn(sizes, share, balance):
    total = max(1, round(share * sum(sizes)))
    quota = Budget(count=total).quota(counts(*sizes), 5, balance)
    assert int(quota.sum()) == total
    assert bool((quota <= counts(*sizes)).all())
    assert bool((quota >= 0).all())
    assert torch.equal(quota, Budget(nbytes=5 * total + 4).quota(counts(*sizes), 5, balance))


@settings(deadline=None, max_examples=60)
@given(sizes=SIZES, share=st.floats(0.0, 1.0))
def test_balanced_differs_by_one_at_most_where_classes_have_rows_left(sizes, share):
    total = max(1, round(share * sum(sizes)))
    quota = Budget(count=total).quota(counts(*sizes), 1).tolist()
    left = [taken for taken, size in zip(quota, sizes, strict=True) if taken < size]
    if left:
        assert max(quota) - min(left) <= 1


@settings(deadline=None, max_examples=60)
@given(sizes=SIZES, share=st.floats(0.0, 1.0))
def test_proportional_stays_within_one_of_the_exact_share(sizes, share):
    total = max(1, round(share * sum(sizes)))
    quota = Budget(count=total).quota(counts(*sizes), 1, balance="global").tolist()
    for taken, size in zip(quota, sizes, strict=True):
        assert abs(taken - total * size / sum(sizes)) < 1


@settings(deadline=None, max_examples=100)
@given(sizes=SIZES, share=st.floats(0.0, 1.0), floor=st.integers(1, 12))
def test_no_class_lies_below_its_floor_and_the_others_stay_in_proportion(sizes, share, floor):
    least = [min(floor, size) for size in sizes]
    total = max(sum(least), round(share * sum(sizes)))
    quota = Budget(count=total).quota(counts(*sizes), 1, f"floor:{floor}").tolist()
    assert sum(quota) == total
    assert all(low <= taken <= size for low, taken, size in zip(least, quota, sizes, strict=True))
    above = [(taken, size) for low, taken, size in zip(least, quota, sizes, strict=True) if taken > low + 1]
    shares = [taken / size for taken, size in above]
    for (taken, size), own in zip(above, shares, strict=True):
        assert all(abs(own - other) <= 1 / size + 1 / its for other, (_, its) in zip(shares, above, strict=True)), taken


def test_floors_by_hand():
    sizes = counts(2, 10, 100, 1000)
    assert Budget(count=111).quota(sizes, 1, balance="global").tolist() == [0, 1, 10, 100]
    # The smallest class has two rows only, and keeps both; what the floors take is missing from the other two.
    assert Budget(count=111).quota(sizes, 1, balance="floor:5").tolist() == [2, 5, 9, 95]
    assert Budget(fraction=0.1).quota(sizes, 1, balance="floor:1").tolist() == [1, 1, 10, 99]
    # A floor above every class keeps everything, where the budget allows.
    assert Budget(count=1112).quota(sizes, 1, balance="floor:2000").tolist() == [2, 10, 100, 1000]
    assert Budget(count=8).quota(counts(0, 4, 40), 1, balance="floor:4").tolist() == [0, 4, 4]


def test_floors_above_the_budget_are_refused():
    with pytest.raises(
        BudgetError, match=r"(?s)12 rows for 3 classes, whose floors take 13.*raise the budget to 13 rows"
    ):
        Budget(count=12).quota(counts(3, 9, 20), 1, balance="floor:5")
    with pytest.raises(BudgetError, match="at least 5 rows of every class"):
        Budget(fraction=0.1).quota(counts(3, 9, 20), 1, balance="floor:5")


@pytest.mark.parametrize("balance", ["floor", "floor:", "floor:0", "floor:-1", "floor:2.5", "floor:²", "classes", ""])
def test_a_balance_that_does_not_exist(balance):
    with pytest.raises(ConfigError, match=r"(?s)received: .*expected: 'class' \(equal shares\), 'global'.*'floor:5'"):
        Budget(count=3).quota(counts(9, 9), 1, balance=balance)


@pytest.mark.parametrize("balance", ["global", "floor:2"])
def test_an_ipc_says_how_classes_are_balanced(balance):
    with pytest.raises(ConfigError, match=r"(?s)as many rows of each class is what ipc says.*count= or fraction="):
        Budget(ipc=2).quota(counts(9, 9), 1, balance=balance)


def test_by_hand():
    sizes = counts(2, 10, 10, 10)
    assert Budget(ipc=2).quota(sizes, 1).tolist() == [2, 2, 2, 2]
    assert Budget(count=15).quota(sizes, 1).tolist() == [2, 5, 4, 4]
    assert Budget(count=3).quota(sizes, 1).tolist() == [1, 1, 1, 0]
    assert Budget(count=8).quota(sizes, 1, balance="global").tolist() == [1, 3, 2, 2]
    assert Budget(fraction=1.0).quota(sizes, 1).tolist() == sizes.tolist()


def test_a_fraction_is_the_decimal_that_was_written():
    assert 0.29 * 100 < 29
    assert int(Budget(fraction=0.29).quota(counts(50, 50), 1).sum()) == 29


def test_ipc_above_a_class_names_the_class_and_its_size():
    with pytest.raises(BudgetError, match=r"class 'dog' has 3") as caught:
        Budget(ipc=4).quota(counts(9, 3), 1, class_names=("cat", "dog"))
    # What makes its rows knows of no total.
    assert caught.value.remedy == "choose ipc=3 or less (--ipc 3), leave out that class, or add training images"
    with pytest.raises(BudgetError, match=r"class number 1 has 3, number 2 has 2") as caught:
        Budget(ipc=4).quota(counts(9, 3, 2), 1, takes_total=True)
    assert caught.value.remedy == (
        "choose ipc=2 or less (--ipc 2), leave out these classes, or add training images; or give a total with "
        "count= (--count), which shares what there is"
    )


def test_ipc_with_an_empty_class_asks_for_no_ipc_of_zero():
    with pytest.raises(BudgetError, match=r"class number 1 has 0") as caught:
        Budget(ipc=1).quota(counts(9, 0), 1)
    assert caught.value.remedy == "leave out that class, or add training images"


def test_too_little_and_too_much():
    with pytest.raises(BudgetError, match="one image is 784 bytes"):
        Budget(nbytes=783).quota(counts(9, 9), 784)
    with pytest.raises(BudgetError, match="0 rows of 1 bytes, out of 18"):
        Budget(fraction=0.05).quota(counts(9, 9), 1)
    with pytest.raises(BudgetError, match="at most the 18 rows there are"):
        Budget(count=19).quota(counts(9, 9), 1)


@pytest.mark.parametrize("options", [{"ipc": 0}, {"ipc": -3}, {"count": 0}, {"nbytes": -1}, {"fraction": 0.0}])
def test_sizes_under_one_are_refused(options):
    with pytest.raises(BudgetError, match="what to do"):
        Budget(**options)


def test_fraction_above_one_is_refused():
    with pytest.raises(BudgetError, match=r"a share of 0\.1 is ten percent"):
        Budget(fraction=10.0)


@pytest.mark.parametrize("options", [{}, {"ipc": 1, "count": 2}])
def test_exactly_one_size(options):
    with pytest.raises(ConfigError, match="exactly one of ipc, fraction, count and nbytes"):
        Budget(**options)


def test_nan_is_no_share():
    with pytest.raises(ConfigError, match="a number above 0 and at most 1"):
        Budget(fraction=float("nan"))


def test_reads_as_text():
    assert [str(Budget(ipc=3)), str(Budget(fraction=0.1))] == ["3 per class", "0.1 of the rows"]
    assert [str(Budget(count=3)), str(Budget(nbytes=8))] == ["3 rows", "8 bytes"]


@pytest.mark.parametrize("name", ["ipc", "count", "nbytes"])
def test_whole_numbers_are_those_of_python(name):
    with as_callers_do():
        for value in (np.int64(6), torch.tensor(6), np.array(6)):
            assert type(getattr(Budget(**{name: value}), name)) is int
        for value in (torch.tensor(6.5), np.bool_(True), "6"):
            with pytest.raises(ConfigError, match="a whole number"):
                Budget(**{name: value})
