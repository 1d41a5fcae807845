"""Sets whose fingerprint is withheld: the same pictures under the normalisation of the data, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from toys import blob_images

import decoct
from decoct.applications.privacy.dp import public_view
from decoct.compact.decoders import quantise
from decoct.compact.distilled import DistilledSet
from decoct.data.dataset import Dataset
from decoct.data.transform import Zca
from decoct.errors import MismatchError
from decoct.evaluation.judge import evaluate
from decoct.evaluation.match import require_match
from decoct.evaluation.withheld import NOTICE, in_terms_of


def data(classes: int = 3) -> Dataset:
    return blob_images(classes=classes, per_class=12, shape=(3, 8, 8))


def private(bits: int) -> DistilledSet:
    spec, classes = public_view(data()).spec, torch.arange(3)
    images = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return DistilledSet(spec, "pixels", {}, quantise(images, bits), classes, "hard", classes, {}, {"name": "dp-dm"})


@pytest.mark.parametrize("bits", [8, 32])
def test_the_pictures_and_bytes_stay_and_the_inputs_are_those_of_the_data(bits: int) -> None:
    mine, theirs = private(bits), data()
    found, notices = in_terms_of(mine, theirs.spec)
    assert notices == (NOTICE,)
    require_match(found.spec, theirs.spec)
    assert torch.equal(found.pictures(), mine.pictures())
    assert found.nbytes == mine.nbytes
    unit = mine.spec.transform.inverse(mine.materialize()[0])
    raw = (unit - theirs.spec.transform.mean.reshape(1, -1, 1, 1)) / theirs.spec.transform.std.reshape(1, -1, 1, 1)  # type: ignore[attr-defined]
    torch.testing.assert_close(found.materialize()[0], raw, atol=1e-5, rtol=1e-5)


def test_any_other_set_stays_as_it_is_and_has_to_match() -> None:
    theirs = data()
    core = decoct.select(theirs, "random", ipc=1)
    assert in_terms_of(core, theirs.spec) == (core, ())
    hidden = public_view(theirs)
    assert in_terms_of(private(8), hidden.spec)[1] == (), "both are withheld: the normalisation is the same constants"
    with pytest.raises(MismatchError, match="a set made from data"):
        in_terms_of(core, replace(theirs.spec, fingerprint="other"))


def test_other_shapes_classes_and_whitened_data_are_refused() -> None:
    mine = private(8)
    with pytest.raises(MismatchError, match="a set of 3 classes and data of 4"):
        in_terms_of(mine, data(classes=4).spec)
    with pytest.raises(MismatchError, match=r"rows of shape \[3, 8, 8\]"):
        in_terms_of(mine, blob_images().spec)
    plain = data().spec
    white = Zca(plain.transform, torch.zeros(192), torch.eye(192), torch.eye(192))  # type: ignore[arg-type]
    with pytest.raises(MismatchError, match=r"data by zca(.|\n)*open the data without whitening"):
        in_terms_of(mine, replace(plain, transform=white))
    with pytest.raises(MismatchError, match=r"whose fingerprint is withheld(.|\n)*in_terms_of"):
        require_match(mine.spec, plain)


def test_it_is_judged_with_a_note_on_the_data_as_they_are() -> None:
    theirs = data()
    card = evaluate(private(8), theirs, networks=["mlp"], seeds=1, baselines=("random",), device="cpu")
    assert card.notes[0] == NOTICE
    assert card.data["fingerprint"] == theirs.spec.fingerprint
