"""Our learning rate is the one of diffusers."""

import pytest
import torch
from diffusers.optimization import get_cosine_schedule_with_warmup

from gad.distillation.learning_rate import cosine_with_warmup


def rates(make, warmup: int, num_steps: int) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)
    schedule, found = make(optimizer, warmup, num_steps), []
    for _ in range(num_steps + 2):
        found.append(schedule.get_last_lr()[0])
        optimizer.step(), schedule.step()
    return found


@pytest.mark.parametrize(("warmup", "num_steps"), [(0, 7), (3, 20), (5, 5), (50, 20)])
def test_it_has_the_bits_of_diffusers_schedule(warmup, num_steps):
    assert rates(cosine_with_warmup, warmup, num_steps) == rates(get_cosine_schedule_with_warmup, warmup, num_steps)
