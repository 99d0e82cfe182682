"""Which seed an output retrieves."""

import pytest
import torch

from gad.metrics.seed_retrieval import seed_retrieval


def test_a_copy_retrieves_every_seed_and_shuffled_seeds_none():
    outputs = torch.randn(3, 4, 2, 5, 5, generator=torch.Generator().manual_seed(0))
    assert seed_retrieval(outputs, outputs).tolist() == [[1.0] * 4] * 3
    assert seed_retrieval(outputs.roll(1, dims=1), outputs).sum() == 0


def test_seeds_are_compared_under_their_own_prompt_alone():
    reference = torch.tensor([[[0.0], [10.0]], [[5.0], [15.0]]])
    assert seed_retrieval(torch.tensor([[[4.9], [9.0]], [[9.0], [11.0]]]), reference).tolist() == [
        [1, 1],
        [1, 1],
    ]


def test_a_student_that_ignores_its_noise_retrieves_one_seed_of_each_prompt():
    reference = torch.randn(5, 4, 3, generator=torch.Generator().manual_seed(1))
    assert seed_retrieval(torch.zeros(5, 4, 3), reference).sum(1).tolist() == [1.0] * 5


def test_every_seed_is_found_among_noisy_copies_and_one_among_equal_images():
    images = torch.randn(9, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    noisy = images + 0.1 * torch.randn(9, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    assert seed_retrieval(noisy[None], images[None]).mean() == 1
    assert seed_retrieval(images[None, :1].expand(1, 9, -1, -1, -1), images[None]).mean() == pytest.approx(1 / 9)
    assert seed_retrieval(noisy.roll(1, 0)[None], images[None]).mean() == 0
