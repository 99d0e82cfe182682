import pytest
import torch

from gad.diffusion.noise import draw_direction, draw_noise, noise_low_frequency_part, perturb

SHAPE = (4, 8, 8)


def low_frequency(ids, size=4, **options):
    return draw_direction(ids, SHAPE, seed=0, kind="low_frequency", size=size, **options)


@pytest.mark.parametrize("kind", ["isotropic", "low_frequency"])
def test_numbers_do_not_depend_on_the_batch(kind):
    ids = [5, 3, 900]
    whole = draw_direction(ids, SHAPE, seed=1, kind=kind)
    assert torch.equal(draw_noise(ids, SHAPE, seed=1), torch.cat([draw_noise([i], SHAPE, seed=1) for i in ids]))
    assert torch.equal(whole, torch.cat([draw_direction([i], SHAPE, seed=1, kind=kind) for i in ids]))


def test_drawing_does_not_touch_the_global_random_state():
    before = torch.get_rng_state()
    draw_noise([0], SHAPE, seed=0)
    assert torch.equal(before, torch.get_rng_state())


def test_seeds_ids_and_indices_give_different_numbers():
    drawn = [draw_noise([0], SHAPE, seed=0), draw_noise([1], SHAPE, seed=0), draw_noise([0], SHAPE, seed=1)]
    drawn += [draw_direction([0], SHAPE, seed=0, kind="isotropic", index=k) for k in (0, 1)]
    assert len({tensor.sum().item() for tensor in drawn}) == len(drawn)


def test_direction_has_identity_covariance():
    count = 4000
    v = draw_direction(range(count), (2, 2, 2), seed=0, kind="isotropic").flatten(1)
    assert (v.T @ v / count - torch.eye(8)).abs().max() < 5 / count**0.5 * 2**0.5


def test_noise_and_its_direction_are_independent():
    count = 4000
    z = draw_noise(range(count), (2, 2, 2), seed=0).flatten(1)
    v = draw_direction(range(count), (2, 2, 2), seed=0, kind="isotropic").flatten(1)
    assert (z.T @ v / count).abs().max() < 5 / count**0.5


def test_low_frequency_direction_is_constant_on_blocks():
    blocks = low_frequency(range(3)).unflatten(3, (4, 2)).unflatten(2, (4, 2))  # B C 4 2 4 2
    assert torch.equal(blocks, blocks[:, :, :, :1, :, :1].expand_as(blocks))
    coarse = blocks[:, :, :, 0, :, 0]
    assert len(coarse.unique()) == coarse.numel()


def test_low_frequency_direction_has_unit_variance_per_mode():
    count, block = 4000, 2
    coarse = low_frequency(range(count))[:, :, ::block, ::block].flatten(1)
    modes = block * coarse  # a mode is 1 / block on its block, so that its norm is 1
    assert (modes.T @ modes / count - torch.eye(modes.shape[1])).abs().max() < 6 * (2 / count) ** 0.5


def test_low_frequency_part_is_a_projection():
    z = draw_noise([0], SHAPE, seed=0).double()
    part = noise_low_frequency_part(z, 4)
    assert torch.allclose(noise_low_frequency_part(part, 4), part, atol=1e-15)
    assert (part * (z - part)).sum().abs() < 1e-12


def test_a_grid_that_does_not_divide_the_latent_is_refused():
    with pytest.raises(ValueError, match="low_frequency_size 3 does not divide the latent size 8x8"):
        low_frequency([0], size=3)


def test_straight_step_moves_by_h_v():
    z, v = torch.randn(2, 3, *SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.allclose(perturb(z, v, h=0.3, step="straight") - z, 0.3 * v, atol=1e-12)


def test_spherical_step_keeps_unit_noise_where_the_straight_one_does_not():
    z, v = draw_noise(range(300), SHAPE, seed=0), draw_direction(range(300), SHAPE, seed=0, kind="isotropic")
    assert perturb(z, v, h=1.0, step="spherical").var().item() == pytest.approx(1, abs=0.03)
    assert perturb(z, v, h=1.0, step="straight").var().item() == pytest.approx(2, abs=0.06)


@pytest.mark.parametrize("space", [{"kind": "isotropic"}, {"kind": "low_frequency", "size": 1}])
def test_spherical_step_keeps_the_identity_covariance(space):
    count, shape = 4000, (2, 2, 2)
    z, v = draw_noise(range(count), shape, seed=0), draw_direction(range(count), shape, seed=0, **space)
    moved = perturb(z, v, h=0.5, step="spherical", **space).flatten(1)
    assert (moved.T @ moved / count - torch.eye(8)).abs().max() < 6 * (2 / count) ** 0.5


def test_spherical_step_is_straight_to_first_order():
    z, v = torch.randn(2, 3, *SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    gaps = [(perturb(z, v, h=h, step="spherical") - (z + h * v)).norm().item() for h in (1e-2, 1e-3)]
    assert gaps[1] == pytest.approx(gaps[0] / 100, rel=0.01)
