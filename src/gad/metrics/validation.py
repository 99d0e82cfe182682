"""Held-out measurement of a student while it trains, against its teacher at validation noises and prompts.

The teacher's outputs and responses are computed once and cached; a student is called once for every noise and once more
for every kind of direction. Nothing here draws from a global generator.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from gad.config import NoisePairsConfig, ValidationConfig
from gad.data.emoji.detector import Detector, load_emoji_detector
from gad.diffusion.denoiser import Denoiser, NetworkDenoiser
from gad.diffusion.guidance import guided_denoiser_on_device
from gad.metrics.validation_numbers import validation_estimate_over_prompts
from gad.metrics.validation_set import Outputs, ValidationSet, decode_validation_set, validation_set
from gad.metrics.validation_values import Values, validation_agreement_values, validation_output_values
from gad.models.model import Model
from gad.runtime.cache import ResultCache, at_once
from gad.runtime.devices import own_device
from gad.runtime.distributed import distributed_folder_lock
from gad.runtime.fingerprint import stage_fingerprint


@dataclass(frozen=True)
class Measurement:
    """Numbers by column, and the decoded outputs of the noises that are shown; None where there are no images."""

    row: dict[str, float]
    shown: Tensor | None


@dataclass(frozen=True)
class Validation:
    """How students of a recipe are measured while they train; processes that train seeds are handed it whole."""

    data: ValidationSet
    reference: Outputs
    teacher_values: Values
    detector: Detector | None

    @torch.no_grad()
    def measure(self, student: Denoiser, teacher: Model) -> Measurement:
        """Every metric ``m`` of a student as columns ``m``, ``m_low``, ``m_high``, and ``m_teacher`` where it has one.

        ``teacher`` decodes the student's latents. Columns: :func:`validation_agreement_values` and
        :func:`validation_output_values`.
        """
        data = self.data
        found = [data.outputs(student, data.pairs.student_steps, part) for part in data.parts]
        outputs = decode_validation_set(found, teacher)
        own = validation_output_values(outputs.decoded, data, self.detector)
        row: dict[str, float] = {}
        for name, (values, statistic) in (validation_agreement_values(outputs, self.reference, data) | own).items():
            estimate = validation_estimate_over_prompts(values, statistic)
            row |= {name: estimate.mean, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
            if name in self.teacher_values:
                row[f"{name}_teacher"] = self.teacher_values[name][0].mean().item()
        return Measurement(row, outputs.decoded[data.shown] if outputs.decoded.ndim == 4 else None)

    @property
    def teacher_shown(self) -> Tensor:
        """The teacher's images of the noises that are shown."""
        return self.reference.decoded[self.data.shown]


@torch.no_grad()
def prepare_validation(
    teacher: Model,
    pairs: NoisePairsConfig,
    pairs_hash: str,
    config: ValidationConfig,
    *,
    device: str = "cpu",
    folder: Path | None = None,
) -> Validation:
    """The validation of a recipe; what the teacher makes of its noises is cached in ``folder``, where one is given.

    ``pairs_hash`` is the fingerprint of the noise pairs, which are their teacher's own. The teacher works on
    ``device`` and is on the CPU again afterwards.
    """
    data = validation_set(teacher, pairs, config, device)
    cached = at_once
    if folder is not None:
        measured = config.model_dump(exclude={"first_step", "images"})
        captions = None if data.prompts is None else data.prompts.captions
        distributed_folder_lock(
            folder, stage_fingerprint("student", pairs.model_dump(), pairs_hash, measured, captions)
        )
        cached = ResultCache(folder)
    guided = guided_denoiser_on_device(teacher.guided(pairs.guidance_scale), own_device(device))
    parts = [
        cached(f"teacher_{part.start}", partial(data.outputs, guided, pairs.teacher_steps, part)) for part in data.parts
    ]
    if isinstance(teacher.denoiser, NetworkDenoiser):
        teacher.denoiser.to("cpu")
    reference = decode_validation_set(parts, teacher)
    known = data.prompts is not None and data.prompts.scenes is not None
    detector = load_emoji_detector() if known else None
    return Validation(data, reference, validation_output_values(reference.decoded, data, detector), detector)
