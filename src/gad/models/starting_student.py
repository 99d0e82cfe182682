"""A few-step student that was distilled elsewhere, as what training starts from."""

import copy
import warnings
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gad.config.lora import LoraConfig
from gad.config.starting_student import NAME, StartingStudent
from gad.diffusion.denoiser import NetworkDenoiser
from gad.diffusion.sampling import sample
from gad.diffusion.schedule import FlowSchedule, Parameterisation, Schedule, TableSchedule, to_x0
from gad.models.adapter import adapter_settings
from gad.models.external import check_external_comparable
from gad.models.external_pipeline import external_adapter_file, load_external_pipeline
from gad.models.external_sampler import fresh_sampler_scheduler, sampler_scheduler_steps, sampler_times
from gad.models.external_scheduler import external_scheduler
from gad.models.lora_students import lora_student_denoiser
from gad.models.model import Model
from gad.models.own_times import with_own_timesteps
from gad.models.pipeline_schedule import pipeline_schedule
from gad.models.pipelines import pipeline_family, pipeline_network
from gad.models.shared_parts import pipeline_with_parts

if TYPE_CHECKING:  # imported where they are used at run time, since that takes seconds
    from diffusers import SchedulerMixin

OTHER = 0.05  # relative difference of samples from which on another sampler is told


def load_starting_student(teacher: Model, settings: StartingStudent, *, student_steps: int) -> NetworkDenoiser:
    """The network of a student that one has, with weights of its own, at the times that its own sampler visits.

    Raises ValueError, in one line, for what :func:`gad.models.external.load_external_student` refuses, and for a
    network of another class, prediction or noise schedule than the teacher's.
    """
    assert teacher.pipeline is not None, "a recipe's check: students of the Swiss roll start afresh"
    entry, base = settings.as_external(student_steps), None
    if settings.kind != "full":
        name = pipeline_family(teacher.pipeline).network
        base = pipeline_with_parts(teacher.pipeline, **{name: copy.deepcopy(pipeline_network(teacher.pipeline))})
    pipeline = load_external_pipeline(entry, base=base)
    network = pipeline_network(pipeline)
    shape = (pipeline_family(pipeline).latent_channels(network.config), *teacher.latent_shape[1:])
    assert isinstance(teacher.denoiser, NetworkDenoiser)
    if type(network) is not type(teacher.denoiser.network):
        kinds = f"{type(network).__name__}, the teacher's a {type(teacher.denoiser.network).__name__}"
        raise ValueError(f"{NAME}: its network is a {kinds}; name a student of this teacher")
    check_external_comparable(NAME, Model(teacher.denoiser, shape, pipeline), teacher)
    student = NetworkDenoiser(network, teacher.denoiser.call, *pipeline_schedule(pipeline.scheduler))
    _take_times_of_sampler(student, pipeline.scheduler, settings, teacher, student_steps)
    return student


def load_starting_adapter(
    teacher: Model, settings: StartingStudent, lora: LoraConfig, *, student_steps: int
) -> NetworkDenoiser:
    """The same for a LoRA that is trained on: an adapter on the teacher's own weights.

    Raises ValueError, in one line, for an adapter of another rank than the recipe's, and as the one above.
    """
    assert teacher.pipeline is not None and isinstance(teacher.denoiser, NetworkDenoiser)
    entry = settings.as_external(student_steps)
    student = lora_student_denoiser(external_adapter_file(entry), teacher.denoiser, teacher.pipeline)
    rank = adapter_settings(student.network).r
    if rank != lora.rank:
        raise ValueError(f"student.lora.rank is {lora.rank}, the adapter in {settings.source} has {rank}; set that")
    scheduler = external_scheduler(teacher.pipeline, entry)
    _take_times_of_sampler(student, scheduler, settings, teacher, student_steps)
    return student


def _take_times_of_sampler(
    student: NetworkDenoiser,
    scheduler: "SchedulerMixin",
    settings: StartingStudent,
    teacher: Model,
    student_steps: int,
) -> None:
    """Have the student be asked where its own scheduler asks it; warns where that samples otherwise than DDIM."""
    assert teacher.pipeline is not None and isinstance(teacher.denoiser, NetworkDenoiser)
    process, predicts = pipeline_schedule(scheduler)
    _check_same_process(process, predicts, teacher.denoiser)
    if isinstance(process, FlowSchedule):
        process = teacher.denoiser.schedule  # whose times may be shifted
    given = {"timesteps": settings.timesteps, "sigmas": settings.sigmas}
    times = sampler_times(teacher.pipeline, scheduler, teacher.latent_shape[-1], num_steps=student_steps, given=given)
    walked = fresh_sampler_scheduler(scheduler, times)
    timesteps = [float(timestep) for timestep in walked.timesteps]
    if len(timesteps) != student_steps:
        calls = f"its {type(scheduler).__name__} makes {len(timesteps)} calls in {student_steps} steps"
        raise ValueError(f"{NAME}: {calls}; name a first-order scheduler")
    student.schedule, student.parameterisation = process, predicts
    with_own_timesteps(student, timesteps)
    difference = sampler_difference_from_ddim(walked, student.schedule, predicts)
    if difference > OTHER:
        warnings.warn(
            f"{NAME}: its {type(scheduler).__name__} gives other samples than DDIM at the same times, by about "
            f"{difference:.0%}; students are sampled by DDIM here",
            stacklevel=4,
        )


def _check_same_process(process: Schedule, predicts: Parameterisation, teacher: NetworkDenoiser) -> None:
    """Raise ValueError for a student of another prediction or noise schedule than the teacher's."""
    if predicts != teacher.parameterisation:
        raise ValueError(f"{NAME}: it predicts {predicts}, the teacher {teacher.parameterisation}; set its scheduler")
    if isinstance(process, TableSchedule) and isinstance(teacher.schedule, TableSchedule):
        ours, theirs = process.alphas_cumprod, teacher.schedule.alphas_cumprod.to(process.alphas_cumprod)
        if len(ours) == len(theirs) and torch.allclose(ours, theirs, rtol=1e-3, atol=1e-6):
            return
        raise ValueError(f"{NAME}: its scheduler has another noise schedule than the teacher's; name its betas")


def sampler_difference_from_ddim(scheduler: "SchedulerMixin", schedule: Schedule, predicts: Parameterisation) -> float:
    """How far a scheduler's x0 is from that of our DDIM steps at the same times, relative; 0 is the same sampler.

    For a network whose output is half of its input; nothing large is called. ``scheduler`` is at its first step.
    """
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))

    class Half:
        def __init__(self) -> None:
            self.schedule = schedule

        def __call__(self, x_t: Tensor, t: Tensor, conditioning: object) -> Tensor:
            return to_x0(schedule, x_t / 2, x_t, t, predicts)

    *_, (_, theirs) = sampler_scheduler_steps(scheduler, noise, lambda timestep, x: x / 2, eta=0.0, seed=0)
    ours = sample(Half(), noise, None, num_steps=len(scheduler.timesteps))[-1]
    return ((theirs - ours).norm() / ours.norm()).item()
