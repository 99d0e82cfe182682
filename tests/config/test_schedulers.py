"""What a scheduler takes is read from its source; it is what the class itself says."""

import inspect

import diffusers
import pytest

from gad.config.schedulers import _scheduler_files, scheduler_signature

# those that need a package that is not installed are stand-ins in diffusers
NAMES = [name for name in _scheduler_files() if issubclass(getattr(diffusers, name, int), diffusers.SchedulerMixin)]


def _arguments(function):
    return [name for name in inspect.signature(function).parameters if name not in ("self", "args", "kwargs")]


@pytest.mark.parametrize("name", NAMES)
def test_a_scheduler_takes_what_its_class_says(name):
    kind, read = getattr(diffusers, name), scheduler_signature(name)
    assert [each for each in read.options if each != "kwargs"] == _arguments(kind.__init__)
    assert list(read.set_timesteps) == _arguments(kind.set_timesteps)
    assert list(read.step) == (_arguments(kind.step) if hasattr(kind, "step") else [])


def test_most_schedulers_of_diffusers_are_known():
    assert len(NAMES) > 25 and {"DDIMScheduler", "LCMScheduler", "TCDScheduler", "EulerDiscreteScheduler"} <= set(NAMES)
