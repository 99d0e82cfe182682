"""Models that someone else made, as students: any diffusers pipeline of our classes, with its own sampler.

A sampler of diffusers is run whole and seen from outside: one map from initial noise to x0. Such a model stands in the
tables of one-step students, whatever number of steps it takes inside.
"""

import inspect
from dataclasses import dataclass
from pathlib import Path

import diffusers
import torch
from diffusers import DiffusionPipeline
from huggingface_hub import hf_hub_download, snapshot_download
from safetensors.torch import load_file
from torch import Tensor, nn

from gad.artifacts import ROOT
from gad.config import Recipe
from gad.config.outside import OutsideStudent
from gad.lora import merge_lora
from gad.models.conditioning import Conditioning, concatenate, encode_prompts
from gad.models.families import family_of, load_pipeline, network_of
from gad.processes import own_device
from gad.schedule import FlowSchedule, Schedule
from gad.shapes import Latent, PerSample
from gad.teachers.load import Model

OPTIONS = {"num_steps", "timesteps", "sigmas", "guidance_scale", "eta", "seed"}  # of the sampler
PICKLED = ["*.bin", "*.ckpt", "*.pt", "*.pth", "*.msgpack"]  # of whole pipelines never read, so never fetched


def sample_with_scheduler(
    pipeline: DiffusionPipeline,
    noise: Latent,
    conditioning: Conditioning,
    *,
    num_steps: int,
    timesteps: list[int] | None = None,
    sigmas: list[float] | None = None,
    guidance_scale: float = 1.0,
    uncond: Conditioning | None = None,
    eta: float = 0.0,
    seed: int = 0,
) -> Latent:
    """x0 ``[B, C, H, W]`` after all steps of the pipeline's own scheduler, as its ``__call__`` would give it.

    A stochastic scheduler (LCM, TCD, ancestral) adds the same noise to every sample, drawn from ``seed``: so the map
    from initial noise to x0 is a function, whatever the batch, and differences of it are taken under equal draws.
    """
    scheduler = type(pipeline.scheduler).from_config(pipeline.scheduler.config)  # steps are counted in it: a fresh one
    given = {key: value for key, value in {"timesteps": timesteps, "sigmas": sigmas}.items() if value is not None}
    scheduler.set_timesteps(**(given or {"num_inference_steps": num_steps}))
    call, network = family_of(pipeline).call, network_of(pipeline)
    weight = next(network.parameters())
    generators = [torch.Generator().manual_seed(seed) for _ in range(len(noise))]
    known = inspect.signature(scheduler.step).parameters
    extra = {name: value for name, value in {"generator": generators, "eta": eta}.items() if name in known}

    def predict(x: Tensor, timestep: Tensor, prompts: Conditioning) -> Tensor:
        prompts = prompts.to(weight.device)
        prompts = Conditioning(prompts.prompt_embeds.to(weight.dtype), prompts.prompt_attention_mask)
        return call(network, x.to(weight), timestep.to(weight.device).expand(len(x)), prompts).to(noise)

    x = noise * getattr(scheduler, "init_noise_sigma", 1.0)
    for timestep in scheduler.timesteps:
        scaled = scheduler.scale_model_input(x, timestep) if hasattr(scheduler, "scale_model_input") else x
        if guidance_scale == 1:
            output = predict(scaled, timestep, conditioning)
        else:
            both = concatenate(uncond[[0] * len(x)], conditioning)
            without, with_prompt = predict(scaled.repeat(2, 1, 1, 1), timestep, both).chunk(2)
            output = without + guidance_scale * (with_prompt - without)
        x = scheduler.step(output, timestep, x, **extra, return_dict=False)[0]
    return x


@dataclass(frozen=True)
class WholeMap:
    """A pipeline's whole chain as a denoiser of one call: asked at t = 1, it answers with the chain's x0.

    Raises ValueError at any other time: what happens inside the chain is its own.
    """

    pipeline: DiffusionPipeline
    settings: OutsideStudent
    uncond: Conditioning | None
    schedule: Schedule = FlowSchedule()  # alpha_0 = 1, sigma_0 = 0: one step of it ends on x0

    def __call__(self, x_t: Latent, t: PerSample, conditioning: Conditioning) -> Latent:
        if not bool((t == 1).all()):
            raise ValueError(f"{self.settings.name} is a whole map from noise to x0 and cannot be asked at t < 1")
        options = self.settings.model_dump(include=OPTIONS)
        return sample_with_scheduler(self.pipeline, x_t, conditioning, uncond=self.uncond, **options)


def _place(source: str, revision: str | None = None) -> str | Path:
    """A local folder as a path, seen from the project's root; a hub name as it is, or fetched at its revision."""
    path = ROOT / source
    if path.exists() or source.startswith((".", "/")):
        return path
    return Path(snapshot_download(source, revision=revision, ignore_patterns=PICKLED)) if revision else source


def _weights_file(settings: OutsideStudent) -> Path:
    """The LoRA's safetensors file: itself, or the only one of its folder; fetched first when it lies on the hub."""
    place = _place(settings.source)
    if isinstance(place, str):
        place = Path(snapshot_download(place, revision=settings.revision, allow_patterns="*.safetensors"))
    if place.is_file():
        return place
    found = sorted(place.rglob("*.safetensors")) if place.is_dir() else []
    if len(found) != 1:
        raise ValueError(f"{settings.name}: {place} should hold one safetensors file of LoRA weights, not {len(found)}")
    return found[0]


def _bare_network(settings: OutsideStudent, base: nn.Module) -> nn.Module:
    """A network from its own folder, or the base's with weights from a file. A .bin file runs no code: weights_only."""
    options = {"revision": settings.revision, "subfolder": settings.subfolder}
    try:
        if settings.weights is None:
            return type(base).from_pretrained(str(_place(settings.source)), dtype=torch.float32, **options)
        place = _place(settings.source)
        file = (
            hf_hub_download(place, settings.weights, **options) if isinstance(place, str) else place / settings.weights
        )
        safe = Path(file).suffix == ".safetensors"
        state = load_file(file) if safe else torch.load(file, map_location="cpu", weights_only=True)
        base.load_state_dict(state)
        return base.float()
    except Exception as error:  # diffusers, torch and the hub raise many kinds for broken files
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise ValueError(f"{settings.name}: cannot load a network from {settings.source}: {reason}") from error


def load_outside_pipeline(settings: OutsideStudent) -> DiffusionPipeline:
    """The pipeline of an outside student: float32, frozen, with the scheduler that the recipe asks for.

    Raises ValueError, in one line, for a missing folder, another pipeline class, an unknown scheduler, or weights that
    do not fit.
    """
    whole = settings.kind == "full"
    pipeline = load_pipeline(_place(settings.source, settings.revision) if whole else _place(settings.base))
    if settings.kind == "lora":
        merge_lora(network_of(pipeline), _weights_file(settings), scale=settings.lora_scale)
    if settings.kind == "network":
        network = _bare_network(settings, network_of(pipeline)).eval().requires_grad_(False)
        pipeline.register_modules(**{family_of(pipeline).network: network})
    if settings.scheduler:
        options = dict(settings.scheduler)
        name = options.pop("class", type(pipeline.scheduler).__name__)
        if not hasattr(diffusers, str(name)):
            raise ValueError(f"{settings.name}: diffusers has no scheduler {name!r}")
        pipeline.scheduler = getattr(diffusers, str(name)).from_config(pipeline.scheduler.config, **options)
    return pipeline


def _reader(pipeline: DiffusionPipeline) -> dict:
    """What makes a text encoder the one it is, as far as its config says."""
    config = pipeline.text_encoder.config
    sizes = ("hidden_size", "d_model", "vocab_size", "num_hidden_layers", "num_layers")
    found = {size: getattr(config, size) for size in sizes if getattr(config, size, None) is not None}
    return {"class": type(pipeline.text_encoder).__name__, **found}


def check_comparable(name: str, student: Model, teacher: Model) -> None:
    """Raise ValueError, in one line, for a student whose noises or prompts are not the teacher's."""
    if teacher.pipeline is None:
        raise ValueError(f"{name} cannot stand beside a teacher of points: it makes pictures")
    if student.latent_shape != teacher.latent_shape:
        ours, theirs = student.latent_shape, teacher.latent_shape
        raise ValueError(
            f"{name} has latents of {ours}, the teacher of {theirs}; if it can make those, set latent_side"
        )
    ours, theirs = _reader(teacher.pipeline), _reader(student.pipeline)
    if ours != theirs:
        raise ValueError(f"{name} reads prompts with another text encoder ({theirs}) than the teacher ({ours})")


def load_outside_student(settings: OutsideStudent, teacher: Model) -> Model:
    """An outside student ready for use, compared with the teacher first. Raises ValueError as its parts do."""
    pipeline = load_outside_pipeline(settings)
    config = network_of(pipeline).config
    uncond = None if settings.guidance_scale == 1 else encode_prompts(pipeline, [""])
    side = settings.latent_side or config.sample_size
    shape = (config.in_channels, side, side)
    student = Model(WholeMap(pipeline, settings, uncond), shape, pipeline)
    check_comparable(settings.name, student, teacher)
    return student


def load_outside(settings: Recipe, teacher: Model) -> list[tuple[str, int, Model]]:
    """Name, 0 and model of every entry of the recipe's ``students``, as :func:`gad.students.load_students` gives ours.

    On the device of the recipe's sensitivity analysis.

    They are whole maps: measure them with :func:`as_whole_maps` of the recipe.
    """
    device = own_device(settings.sensitivity.device)
    return [(entry.name, 0, load_outside_student(entry, teacher).on(device)) for entry in settings.students]


def as_whole_maps(settings: Recipe) -> Recipe:
    """The recipe with students of one node, and derivatives by difference: how outside students are measured.

    Stock schedulers are not written for forward mode; the difference is taken in float32.
    """
    pairs = settings.noise_pairs.model_copy(update={"num_nodes": 1})
    sensitivity = settings.sensitivity.model_copy(update={"method": "difference"})
    return settings.model_copy(update={"noise_pairs": pairs, "sensitivity": sensitivity})
