"""CSOD beside its definition in loops, and the rules that its picks keep."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from scenes import scene_json, write_scenes

from decoct.data.detection.coco import read_coco
from decoct.data.detection.detection_set import DetectionSet
from decoct.errors import BudgetError, ConfigError, DataError
from decoct.selection.detection.csod import NO_BOXES, Csod, ImagePicks, Prototypes, prototypes
from decoct.streams import Streams


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> DetectionSet:
    return read_coco(write_scenes(tmp_path_factory.mktemp("scenes"), scene_json(count=20)))


@dataclass
class Dense:
    """Prototypes with a place for every pair, zeros where an image does not show the class."""

    vectors: torch.Tensor
    present: torch.Tensor

    def pairs(self) -> Prototypes:
        labels, images = self.present.T.nonzero().T
        return Prototypes(self.vectors[images, labels], images, labels, *self.present.shape)


def made_up(n: int = 30, classes: int = 3, seed: int = 0) -> Dense:
    generator = torch.Generator()
    generator.manual_seed(seed)
    present = torch.rand(n, classes, generator=generator) < torch.tensor([0.9, 0.5, 0.2])[:classes]
    vectors = torch.rand(n, classes, 5, generator=generator) * present[:, :, None]
    return Dense(vectors, present)


def pick(found: Dense, count: int, **options: float) -> ImagePicks:
    return Csod(**options).pick(found.pairs(), count, Streams(0)("select"))  # pyright: ignore[reportArgumentType]


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(a @ b / (a.norm() * b.norm()))


def reference(found: Dense, count: int, weight: float) -> list[tuple[int, int]]:
    """(image, class) picked, from the definition, without keeping any sum."""
    n, classes = found.present.shape
    turns = sorted(range(classes), key=lambda c: int(found.present[:, c].sum()))
    picked: list[tuple[int, int]] = []
    while len(picked) < count:
        for c in turns:
            chosen = [i for i, _ in picked]
            open_ = [i for i in range(n) if found.present[i, c] and i not in chosen]
            if not open_ or len(picked) == count:
                continue
            shows = [i for i in range(n) if found.present[i, c]]

            def gain(i: int, c: int = c, shows: list[int] = shows, chosen: list[int] = chosen) -> float:
                own = found.vectors[i, c]
                return weight * sum(cosine(own, found.vectors[j, c]) for j in shows) - sum(
                    cosine(own, found.vectors[s, c]) for s in chosen if found.present[s, c]
                )

            picked.append((max(open_, key=gain), c))
    return picked


@pytest.mark.parametrize("weight", [0.0, 0.05, 0.7])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_same_as_the_definition(weight: float, seed: int) -> None:
    found = made_up(seed=seed)
    picked = pick(found, 15, weight=weight)
    assert list(zip(picked.rows.tolist(), picked.reasons.tolist(), strict=True)) == reference(found, 15, weight)


def test_prototypes_are_means_by_class_and_image(scenes: DetectionSet) -> None:
    torch.manual_seed(0)
    features = torch.randn(len(scenes.boxes), 4)
    hidden = replace(scenes, ignored=torch.arange(len(scenes.boxes)) == 3)
    found = prototypes(hidden, features)
    for image in range(len(scenes)):
        for label in range(3):
            own = [
                features[j] for j in range(len(scenes.boxes))
                if scenes.owners[j] == image and scenes.labels[j] == label and j != 3
            ]  # fmt: skip
            here = ((found.images == image) & (found.labels == label)).nonzero()[:, 0]
            assert len(here) == bool(own)
            if own:
                torch.testing.assert_close(found.vectors[here[0]], torch.stack(own).mean(0))
    assert (found.labels.diff() >= 0).all()


def test_a_prefix_is_what_fewer_images_would_be() -> None:
    found = made_up()
    whole = pick(found, 30)
    assert sorted(whole.rows.tolist()) == list(range(30))
    for count in range(1, 30):
        assert pick(found, count).rows.tolist() == whole.rows[:count].tolist()


def test_classes_take_turns_rarest_first_and_lose_their_turn_when_empty() -> None:
    found = made_up()
    sizes = found.present.sum(0)
    order = sizes.argsort().tolist()
    picked = pick(found, 30)
    assert picked.reasons[:6].tolist() == order * 2
    assert all(bool(found.present[i, c]) for i, c in zip(picked.rows, picked.reasons, strict=True) if c >= 0)
    rare = (picked.reasons == order[0]).nonzero()[:, 0]
    assert len(rare) <= int(sizes.min())


def test_images_without_boxes_come_last() -> None:
    found = made_up()
    bare = torch.tensor([2, 7, 9])
    found.present[bare], found.vectors[bare] = False, 0.0
    picked = pick(found, 30)
    shown = int(found.present.any(1).sum())
    assert set(picked.rows[shown:].tolist()) >= {2, 7, 9}
    assert (picked.reasons[shown:] == NO_BOXES).all()
    assert (picked.reasons[:shown] >= 0).all()


def test_an_image_is_picked_though_the_class_whose_turn_it_is_has_none_left() -> None:
    present = torch.tensor([[True, False]] * 5 + [[False, True]])
    found = Dense(torch.rand(6, 2, 3), present)
    assert sorted(pick(found, 5).reasons.tolist()) == [0, 0, 0, 0, 1]


def test_two_clusters_of_one_class_are_both_taken() -> None:
    """Nine images alike and one of another kind: the second pick is that one, unless being typical weighs more."""
    vectors = torch.tensor([[[1.0, 0.0]]] * 9 + [[[0.0, 1.0]]])
    found = Dense(vectors, torch.ones(10, 1, dtype=torch.bool))
    assert 9 in pick(found, 2, weight=0.05).rows.tolist()
    assert 9 not in pick(found, 2, weight=1.0).rows.tolist()


def test_centring_hides_what_all_have_in_common() -> None:
    """Far from the origin all cosines are nearly 1; without the mean the two groups are opposite."""
    torch.manual_seed(0)
    vectors = (torch.randn(20, 1, 3) * 0.01).abs() + torch.tensor([50.0, 50.0, 50.0])
    vectors[10:, :, 0] += 1.0
    found = Dense(vectors, torch.ones(20, 1, dtype=torch.bool))
    picked = Csod(weight=0.0, centred=True).pick(found.pairs(), 10, Streams(0)("select")).rows
    assert abs(int((picked < 10).sum()) - 5) <= 1


@pytest.mark.parametrize("count", [0, 31])
def test_budgets_out_of_range(count: int) -> None:
    with pytest.raises(BudgetError, match=f"a count of {count} from 30 images"):
        pick(made_up(), count)


def test_no_boxes_and_weights_below_zero_are_refused() -> None:
    found = Dense(torch.zeros(4, 2, 3), torch.zeros(4, 2, dtype=torch.bool))
    with pytest.raises(DataError, match="4 images without a single box"):
        pick(found, 2)
    with pytest.raises(ConfigError, match="weight=-0.1"):
        Csod(weight=-0.1)
    with pytest.raises(ConfigError, match="weight=nan"):
        Csod(weight=float("nan"))
    with pytest.raises(ConfigError, match="weight=inf"):
        Csod(weight=float("inf"))


def test_the_card_names_the_paper() -> None:
    from decoct.selection.detection.csod import CARD

    assert "2404.09161" in CARD.link
    assert Path(__file__).stem.removeprefix("test_") == CARD.name
