"""The `external_models` key: external models, measured beside our students.

.. code-block:: yaml

    external_models:
      - name: sd_turbo
        source: stabilityai/sd-turbo      # hub name or folder of a diffusers pipeline
        num_steps: 1
        scheduler: {class: EulerDiscreteScheduler, timestep_spacing: trailing}
        licence: Stability AI Community; not for large commercial use
      - name: tcd
        source: folder/with/lora          # *.safetensors of a LoRA, merged into the base
        kind: lora
        base: stabilityai/stable-diffusion-2-1-base
        scheduler: {class: TCDScheduler}
        num_steps: 4
      - name: teacher_first_step            # our own students, whose first step the teacher takes
        source: baseline                    # a variant of the recipe
        kind: first_step
        num_steps: 4                        # student_steps of the recipe
        guidance_scale: 3.0                 # of that step; 1 is none: guidance off early
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from gad.config.effect import with_any, with_own
from gad.config.schedulers import scheduler_fault, scheduler_signature
from gad.config.section import Count, Section, Seed

Option = str | bool | int | float | None


class ExternalStudent(Section):
    """A diffusers pipeline and its sampler."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.\-]+$")]  # shown in tables
    # hub name or local folder: a pipeline, a bare network (with `base`), or LoRA weights (with `base`); of kind
    # first_step the variant of the students
    source: str
    revision: str | None = None  # of the hub
    subfolder: Annotated[str | None, with_own("kind", "network")] = None  # path of a bare network in its repository
    kind: Literal["full", "network", "lora", "first_step"] = "full"
    weights: str | None = None  # kind network: a file of weights without a config, for the base's own network
    base: str | None = None  # pipeline that gives everything but the network (kind network), or takes the LoRA
    base_revision: Annotated[str | None, with_any("base")] = None  # of the hub
    lora_scale: Annotated[float, with_own("kind", "lora")] = 1.0
    latent_side: Count | None = None  # of its latents, where that is not its network's own size
    scheduler: dict[str, Option] | None = None  # `class` and options that replace the folder's own scheduler
    num_steps: Count
    timesteps: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] | None = None  # of the network
    sigmas: Annotated[list[float], Field(min_length=1)] | None = None  # of a flow or Euler scheduler
    guidance_scale: Annotated[float, Field(ge=1)] = 1.0  # 1 is none
    eta: Annotated[float, Field(ge=0, le=1)] = 0.0  # how stochastic a DDIM or TCD scheduler is
    seed: Seed = 0  # of the noise that a stochastic scheduler adds
    licence: str = "not stated"

    @model_validator(mode="after")
    def _possible(self):
        if self.kind == "first_step":
            self._check_first_step()
        elif (self.base is None) != (self.kind == "full"):
            raise ValueError(
                f"{self.name}: kind {self.kind} " + ("needs a base" if self.base is None else "has no base")
            )
        if self.weights is not None and self.kind != "network":
            raise ValueError(f"{self.name}: weights names the file of a bare network; kind is {self.kind}")
        if self.timesteps is not None and self.sigmas is not None:
            raise ValueError(f"{self.name}: timesteps or sigmas, not both")
        given = self.timesteps or self.sigmas
        if given is not None and len(given) != self.num_steps:
            raise ValueError(f"{self.name}: num_steps is {self.num_steps}, but {len(given)} times are given")
        return self

    def _check_first_step(self) -> None:
        """Raise ValueError for what has no effect on our own students."""
        used = {"name", "source", "kind", "num_steps", "guidance_scale", "licence"}
        other = sorted(name for name in self.model_fields_set - used if getattr(self, name) != _default(name))
        if other:
            raise ValueError(f"{self.name}: {other[0]} has no effect with kind first_step")

    @model_validator(mode="after")
    def _scheduler_takes_its_options(self):
        """Of a class that is named here; one that only the folder names is compared when the folder is read."""
        if self.scheduler and "class" in self.scheduler:
            try:
                kind = scheduler_signature(str(self.scheduler["class"]))
            except ValueError as error:
                raise ValueError(f"{self.name}: scheduler: {error}") from error
            fault = scheduler_fault(kind, self.scheduler_options, self.times, eta=self.eta)
            if fault:
                raise ValueError(f"{self.name}: scheduler: {fault}")
        return self

    @property
    def scheduler_options(self) -> dict[str, Option]:
        """What replaces options of the folder's own scheduler, without the class."""
        return {name: value for name, value in (self.scheduler or {}).items() if name != "class"}

    @property
    def times(self) -> dict[str, list[int] | list[float] | None]:
        """The times that the network is asked at, by the name that a scheduler takes them under."""
        return {"timesteps": self.timesteps, "sigmas": self.sigmas}


def _default(name: str) -> object:
    return ExternalStudent.model_fields[name].default


def check_external_first_steps(entries: list[ExternalStudent], variants: list[str], student_steps: int) -> None:
    """Raise ValueError, in one line, for an entry of kind first_step that the recipe's students cannot have."""
    for entry in (entry for entry in entries if entry.kind == "first_step"):
        if entry.source not in variants:
            raise ValueError(f"{entry.name}: {entry.source} is no variant of the recipe; it has {', '.join(variants)}")
        if student_steps == 1:
            raise ValueError(f"{entry.name}: with one sampling step the teacher's first step is the whole trajectory")
        if entry.num_steps != student_steps:
            raise ValueError(
                f"{entry.name}: num_steps is {entry.num_steps}, student_steps of the recipe {student_steps}"
            )
