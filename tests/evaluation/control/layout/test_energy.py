"""BoxDiff's energy: its slow version, its gradient, and what each term says."""

import pytest
import torch
from reference.layout_energy import blurred
from reference.layout_energy import energy as slow_energy

from gad.data.boxes import check_box_in_image
from gad.evaluation.control.layout.attention_maps import (
    blur_attention_maps,
    enlarge_attention_maps,
    word_attention_maps,
)
from gad.evaluation.control.layout.energy import (
    corner_energy,
    inner_box_energy,
    layout_box_mask,
    layout_energy,
    outer_box_energy,
)
from gad.evaluation.control.layout.energy_descent import boxdiff_descent_step, descend_energy

SIDE = 8
BOXES = [(2, 1, 5, 4), (0, 0, 8, 3), (6, 5, 8, 8)]  # in cells


def maps_of(count: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, SIDE, SIDE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def masks_of(boxes) -> torch.Tensor:
    return torch.stack([layout_box_mask(box, SIDE, SIDE) for box in boxes]).double()


def fast_energy(maps, boxes, *, share=0.2, reach=1):
    masks, present = masks_of(boxes)[:, None], torch.ones(len(boxes), 1, dtype=torch.bool)
    return layout_energy(maps[:, None], masks, present, top_share=share, corner_range=reach)


@pytest.mark.parametrize(("share", "reach"), [(0.2, 1), (0.5, 0), (1.0, 3)])
def test_energy_and_gradient_equal_the_slow_version(share, reach):
    maps = maps_of(3).requires_grad_(True)
    energy, _ = fast_energy(maps, BOXES, share=share, reach=reach)
    slow = [slow_energy(list(map(list, one)), box, share, reach) for one, box in zip(maps, BOXES, strict=True)]
    assert energy.tolist() == pytest.approx([value.item() for value in slow])
    fast_gradient, slow_gradient = (torch.autograd.grad(total, maps)[0] for total in (energy.sum(), sum(slow)))
    assert torch.allclose(fast_gradient, slow_gradient, atol=1e-12)


def test_the_blur_equals_the_slow_version_and_keeps_a_constant():
    maps = maps_of(1)
    assert torch.allclose(blur_attention_maps(maps)[0], torch.tensor(blurred(maps[0].tolist()), dtype=torch.float64))
    assert torch.allclose(blur_attention_maps(torch.ones(1, SIDE, SIDE)), torch.ones(()))


def test_the_gradient_of_the_energy_is_that_of_finite_differences():
    maps = maps_of(1).requires_grad_(True)
    assert torch.autograd.gradcheck(lambda m: fast_energy(m, BOXES[:1])[0], (maps,))


@pytest.mark.parametrize("box", BOXES)
def test_the_box_itself_is_the_optimum(box):
    perfect = masks_of([box])
    assert fast_energy(perfect, [box])[0].item() == 0
    for other in BOXES:
        if other != box:
            assert fast_energy(masks_of([other]), [box])[0].item() > 0.5


def test_descent_on_a_map_ends_at_the_box():
    """A free map behind a sigmoid that begins alike everywhere: it ends high in the box and low outside."""

    def energy(logits):
        return fast_energy(logits.sigmoid()[:, 0], BOXES[:1], share=1.0)

    start = torch.zeros(1, 1, SIDE, SIDE, dtype=torch.float64)
    move = boxdiff_descent_step(20.0, keep_on_shell=False)
    end = descend_energy(energy, start, move, iterations=400, stop_below=0.0).sigmoid()[0, 0]
    inside = masks_of(BOXES[:1])[0].bool()
    assert end[inside].min() > 0.9 and end[~inside].max() < 0.1


def test_each_term_says_what_it_is_named_for():
    box, other = masks_of(BOXES[:1]), masks_of(BOXES[2:])
    assert inner_box_energy(box, box, 0.2).item() == 0 and inner_box_energy(other, box, 0.2).item() == 1
    assert outer_box_energy(box, box, 0.2).item() == 0 and outer_box_energy(box + other, box, 0.1).item() == 1
    taller = layout_box_mask((2, 1, 5, 5), SIDE, SIDE)[None].double()
    assert corner_energy(box, box, 1).item() == 0
    assert corner_energy(taller, box, 1).item() == pytest.approx(1 / SIDE)  # one row too many, near the lower edge
    assert corner_energy(taller, box, 0).item() == pytest.approx(1 / SIDE) and corner_energy(
        other, box, 0
    ).item() == pytest.approx(2 / SIDE)


def test_absent_objects_do_not_count_and_samples_do_not_mix():
    maps, masks = maps_of(6).view(3, 2, SIDE, SIDE), masks_of(BOXES * 2).view(3, 2, SIDE, SIDE)
    present = torch.tensor([[True, True], [True, False], [True, True]])
    options = {"top_share": 0.2, "corner_range": 1}
    energy, worst = layout_energy(maps, masks, present, **options)
    for sample in range(3):
        alone = layout_energy(maps[[sample]], masks[[sample]], present[[sample]], **options)
        assert alone[0].item() == pytest.approx(energy[sample].item()) and alone[1].item() == worst[sample].item()
    single = layout_energy(maps[1:2, :1], masks[1:2, :1], present[1:2, :1], **options)[0]
    assert energy[1].item() == pytest.approx(single.item())


def test_maps_are_shared_among_the_words_alone():
    attention = torch.rand(1, SIDE, SIDE, 5)
    words = torch.tensor([[False, True, True, False, False]])
    maps = word_attention_maps(attention, words)
    assert torch.equal(maps[..., ~words[0]], torch.zeros(1, SIDE, SIDE, 3))
    by_hand = (100 * (attention[..., 1] - attention[..., 2])).sigmoid()
    assert torch.allclose(maps[..., 1], by_hand, atol=1e-5) and torch.allclose(maps.sum(-1), torch.ones(()))


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ((3, 3, 3, 9), "has no area"),
        ((9, 3, 5, 9), "has no area"),
        ((-1, 3, 5, 9), "leaves the image of 64x64 pixels"),
        ((3, 3, 65, 9), "leaves the image of 64x64 pixels"),
    ],
)
def test_an_impossible_box_is_refused_in_one_line(box, message):
    with pytest.raises(ValueError, match=message) as error:
        check_box_in_image(box, 64, "box of 'car'")
    assert "box of 'car'" in str(error.value) and "\n" not in str(error.value)


def test_a_thin_box_keeps_a_cell_also_at_the_border():
    assert layout_box_mask((63, 0, 64, 64), 64, 8).sum() == 8 and layout_box_mask((30, 30, 31, 31), 64, 8).sum() == 1
    assert torch.equal(layout_box_mask((8, 16, 24, 64), 64, 8).nonzero().amin(0), torch.tensor([2, 1]))


def test_boxes_of_one_size_have_as_many_cells_wherever_they_lie():
    for size in (24, 28, 32):
        cells = {layout_box_mask((at, at, at + size, at + size), 64, 16).sum().item() for at in range(0, 64 - size + 1)}
        assert cells == {(size / 4) ** 2}
        assert layout_box_mask((4, 12, 4 + size, 12 + size), 64, 16).nonzero().amin(0).tolist() == [
            3,
            1,
        ]  # multiples of 4


def test_coarse_maps_are_enlarged_and_keep_what_they_sum_to():
    maps = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    large = enlarge_attention_maps(maps, 16)
    assert large.shape == (2, 3, 16, 16)
    assert torch.allclose(large.mean((2, 3)), maps.mean((2, 3)), atol=0.02)
    assert (
        torch.equal(enlarge_attention_maps(maps, 8), maps)
        and enlarge_attention_maps(torch.ones(1, 1, 32, 32), 16).shape[-1] == 32
    )
    flat = enlarge_attention_maps(torch.full((1, 1, 4, 4), 0.3), 16)
    assert torch.allclose(flat, torch.full_like(flat, 0.3))
