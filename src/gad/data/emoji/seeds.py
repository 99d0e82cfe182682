"""Which seed draws whose emoji scenes and captions: uses that must not share scenes have a seed each.

Captions are few words of a small vocabulary, so short ones come back under several seeds; scenes do not. Weights are
drawn from seeds as well.
"""

from collections.abc import Callable
from typing import TypeVar

import torch

TEACHER = 1  # scenes that the teachers learn from
NOISE_PAIRS = 2  # captions of sample ids: of the noise pairs and of the analyses
CONTROL = 3  # captions of the control tasks
LAYOUT = 4  # scenes whose boxes are requested; no teacher or evaluator learns from them
EXPLORER = 6  # captions to choose from
STUDENT_VALIDATION = 7  # captions by which students are validated while they train
AUTOENCODER = 11  # scenes that the autoencoder learns from
EVALUATORS = 21  # scenes that detector and CLIP learn from; each adds its own seed
TEACHER_ACCURACY = 77  # captions by which a teacher's images are checked
VALIDATION = 99  # scenes that nothing learns from

T = TypeVar("T")


def build_with_seed(build: Callable[[], T], seed: int) -> T:
    """What ``build`` makes with weights drawn from ``seed``; the global random state stays as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build()
