"""Spectra of derivatives by a randomised decomposition are those of the full one."""

import torch

from gad.evaluation.sensitivity.spectrum import full_spectrum, leading_spectrum
from gad.metrics.response import spectral_kl


def linear(singular, seed):
    """A map of 1 x 8 x 8 latents with the given singular values, and the matrix."""
    generator = torch.Generator().manual_seed(seed)
    left, right = (torch.linalg.qr(torch.randn(64, 64, generator=generator)).Q for _ in range(2))
    matrix = left @ torch.diag(singular) @ right.T
    return (lambda x: (x.flatten(1) @ matrix.T).view_as(x)), matrix


def test_spectral_kl_by_randomised_svd_is_that_of_the_full_one_on_a_linear_map():
    index, x = torch.arange(64), torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    maps = [linear(rate**index, seed)[0] for seed, rate in enumerate((0.8, 0.7))]
    few = [leading_spectrum(phi, x, 16, ids=[0, 1], rounds=3) for phi in maps]
    exact = spectral_kl(*(full_spectrum(phi, x) for phi in maps))
    assert torch.allclose(spectral_kl(*few), exact, rtol=0.02)
    assert torch.allclose(full_spectrum(maps[0], x)[0], 0.8**index, rtol=1e-3, atol=1e-5)


def test_spectral_kl_by_randomised_svd_is_that_of_the_full_one_on_a_network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = [(torch.nn.Linear(48, 14), torch.nn.SiLU(), torch.nn.Linear(14, 48)) for _ in range(2)]
    bodies = [torch.nn.Sequential(*parts) for parts in layers]
    maps = [lambda x, body=body: body(x.flatten(1)).view_as(x) for body in bodies]
    x = torch.randn(3, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    few = [leading_spectrum(phi, x, 14, ids=range(3)).detach() for phi in maps]
    exact = spectral_kl(*(full_spectrum(phi, x).detach() for phi in maps))
    assert exact.min() > 0.01 and torch.allclose(spectral_kl(*few), exact, rtol=0.02)
