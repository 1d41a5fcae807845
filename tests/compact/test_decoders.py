from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from decoct.compact.decoders import DECODERS, dequantise, enlargement, multiformation, pixels, quantise, row_count
from decoct.errors import ConfigError, DataError, UnknownNameError


def images(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def reference_multiformation(stored: torch.Tensor, factor: int) -> torch.Tensor:
    """Cell by cell with torch's own interpolation."""
    height, width = stored.shape[2:]
    decoded = []
    for image in stored:
        for i in range(factor):
            for j in range(factor):
                cell = image[
                    :,
                    i * height // factor : (i + 1) * height // factor,
                    j * width // factor : (j + 1) * width // factor,
                ]
                grown = functional.interpolate(cell[None], size=(height, width), mode="bilinear", align_corners=False)
                decoded.append(grown[0])
    return torch.stack(decoded)


@pytest.mark.parametrize(
    ("shape", "factor"), [((2, 1, 8, 6), 2), ((3, 3, 5, 7), 3), ((1, 2, 4, 9), 4), ((2, 1, 5, 5), 1)]
)
def test_multiformation_is_torchs_interpolation_of_each_cell(shape, factor):
    stored = images(*shape)
    decoded = multiformation({"pixels": stored}, {"factor": factor})
    torch.testing.assert_close(decoded, reference_multiformation(stored, factor), atol=1e-5, rtol=1e-5)


def test_multiformation_decodes_any_rows_in_any_order():
    tensors = {"pixels": images(3, 1, 7, 6)}
    rows = torch.tensor([11, 0, 5, 5])
    torch.testing.assert_close(
        multiformation(tensors, {"factor": 2}, rows), multiformation(tensors, {"factor": 2})[rows]
    )


@pytest.mark.parametrize("factor", [2, 3])
def test_multiformation_gradient_is_torchs(factor):
    upstream = images(2 * factor**2, 3, 7, 8, seed=1)
    ours, theirs = (images(2, 3, 7, 8).requires_grad_() for _ in range(2))
    (multiformation({"pixels": ours}, {"factor": factor}) * upstream).sum().backward()
    (reference_multiformation(theirs, factor) * upstream).sum().backward()
    assert ours.grad is not None
    torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-5, rtol=1e-5)


def test_every_row_of_an_enlargement_sums_to_one_and_stays_in_its_cell():
    matrices = enlargement(7, 3)
    torch.testing.assert_close(matrices.sum(2), torch.ones(3, 7))
    for cell in range(3):
        used = torch.nonzero(matrices[cell].sum(0)).flatten().tolist()
        assert used == list(range(cell * 7 // 3, (cell + 1) * 7 // 3))


def test_stored_images_smaller_than_the_rows_are_enlarged_to_their_size():
    stored = images(2, 3, 5, 6)
    decoded = multiformation({"pixels": stored}, {"factor": 2, "size": [8, 9]})
    assert decoded.shape == (8, 3, 8, 9)
    cell = stored[1, :, 2:5, 3:6]
    expected = functional.interpolate(cell[None], size=(8, 9), mode="bilinear", align_corners=False)[0]
    torch.testing.assert_close(decoded[7], expected, atol=1e-5, rtol=1e-5)


def test_pixels_gradient_reaches_only_the_rows_asked_for():
    stored = images(4, 2, 3, 3).requires_grad_()
    pixels({"pixels": stored}, {}, torch.tensor([1, 1, 3])).sum().backward()
    assert stored.grad is not None
    assert stored.grad.flatten(1).unique(dim=1).flatten().tolist() == [0, 2, 0, 1]


def test_gradients_reach_half_precision_and_the_channel_ranges():
    half = images(2, 1, 2, 2).half().requires_grad_()
    pixels({"pixels": half}, {}).square().sum().backward()
    assert half.grad is not None
    torch.testing.assert_close(half.grad, 2 * half.detach())
    tensors = quantise(images(2, 1, 2, 2), 8)
    tensors["step"] = tensors["step"].requires_grad_()
    pixels(tensors, {}).sum().backward()
    assert float(tensors["step"].grad) == float(tensors["pixels"].float().sum())  # type: ignore[arg-type]


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000), scale=st.floats(1e-3, 1e4), shift=st.floats(-1e3, 1e3))
def test_eight_bits_err_by_half_a_step_at_most(seed, scale, shift):
    values = images(3, 2, 4, 5, seed=seed) * scale + shift
    tensors = quantise(values, 8)
    step = tensors["step"].reshape(1, -1, 1, 1)
    rounding = 1e-6 * values.abs().max()
    assert bool(((dequantise(tensors) - values).abs() <= step / 2 + rounding).all())
    assert tensors["pixels"].dtype == torch.uint8


def test_a_constant_channel_is_exact():
    tensors = quantise(torch.full((2, 1, 3, 3), 0.7), 8)
    assert torch.equal(dequantise(tensors), torch.full((2, 1, 3, 3), 0.7))


def test_sixteen_and_thirty_two_bits():
    values = images(3, 5)
    assert torch.equal(dequantise(quantise(values, 16)), values.half().float())
    assert torch.equal(dequantise(quantise(values, 32)), values)


def test_features_have_no_eight_bits():
    with pytest.raises(ConfigError, match="16 or 32 for features"):
        quantise(images(3, 5), 8)
    with pytest.raises(ConfigError, match="in 4 bits"):
        quantise(images(2, 1, 3, 3), 4)


@pytest.mark.parametrize(("value", "bits"), [(float("nan"), 8), (float("inf"), 32), (1e6, 16)])
def test_values_that_cannot_be_stored_are_refused(value, bits):
    values = images(2, 1, 3, 3)
    values[0, 0, 0, 0] = value
    with pytest.raises(DataError, match="NaN, infinity, or a value too large"):
        quantise(values, bits)


def test_row_count_and_what_it_refuses():
    tensors = quantise(images(3, 1, 4, 4), 8)
    assert row_count("pixels", tensors, {}) == 3
    assert row_count("multiformation", tensors, {"factor": 2}) == 12
    assert row_count("shelf", tensors, {}) is None
    for factor in (0, -1, 5, 2.0, True, None, 10**9):
        with pytest.raises(ConfigError, match="a factor from 1 to the shorter side"):
            row_count("multiformation", tensors, {"factor": factor})
    for size in ([4], [4, 0], [4, 4.0], (4, 4), None, [1 << 30, 4]):
        with pytest.raises(ConfigError, match="a size"):
            row_count("multiformation", tensors, {"factor": 2, "size": size})
    for broken in (
        {},
        {"pixels": tensors["pixels"]},
        {**tensors, "low": torch.zeros(3)},
        {"pixels": torch.zeros(3).long()},
    ):
        with pytest.raises(ConfigError, match="pixels in float16 or float32"):
            row_count("pixels", broken, {})


def test_enlargements_that_would_fill_the_memory_are_refused():
    with pytest.raises(ConfigError, match=r"images \[s, c, p, q\] and a size \[h, w\] that are usual"):
        row_count("multiformation", {"pixels": torch.zeros(1, 1, 1, 1 << 15).half()}, {"factor": 1})


def test_an_unknown_storage_names_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'pixels'"):
        DECODERS.load("pixel")
