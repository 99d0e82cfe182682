"""The `student` section."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from gad.config.effect import (
    ANCHORED,
    EXTRA_CALL,
    ON_IMAGES,
    ON_SWISS_ROLL,
    ON_UNETS,
    WITH_FAKE_SCORE,
    with_any,
    with_own,
    with_paradigm,
)
from gad.config.lora import LoraConfig
from gad.config.section import Count, Device, Dtype, Positive, Section, Seed
from gad.config.starting_student import StartingStudent
from gad.config.student_options import EndToEndGradient, Target, check_student_options
from gad.config.validation import ValidationConfig
from gad.config.variants import VARIANTS, check_variant


class StudentConfig(Section):
    """How students are trained: base loss, weights, time window of GAD and anchor, seeds, and how networks compute."""

    # the base loss; tdm with one sampling step is dmd2's
    paradigm: Literal["matching", "ladd", "tdm", "dmd2", "sid"] = "matching"
    num_steps: Count
    batch_size: Annotated[int, Field(ge=2, multiple_of=2)]  # samples; pairs count twice
    accumulate: Count = 1  # parts of a batch, one after another: less memory, the same gradient. Processes share them
    lr: Positive
    warmup_steps: Annotated[int, Field(ge=0)] = 50
    # initialisation: the teacher's network (2-D: random weights), or what regression on the stored pairs makes of it in
    # start_steps steps, the same student for all variants of a seed; or a few-step student that is to be repaired
    start: Literal["teacher", "regression", "student"] = "teacher"
    start_student: Annotated[StartingStudent | None, ON_IMAGES, with_own("start", "student")] = None  # that student
    lora: Annotated[LoraConfig | None, ON_IMAGES] = None  # an adapter is trained, on weights that the teacher shares
    start_steps: Annotated[int, Field(ge=0), with_own("start", "regression")] = 0
    start_lr: Annotated[Positive | None, with_own("start", "regression")] = None  # of the regression; None: lr
    gad_weight: Annotated[float, Field(ge=0)]  # lambda on the relative mismatch of derivatives; 0 is the baseline
    # instead of gad_weight, by variant: terms have units of their own (1 is the lambda of the released code)
    variant_weights: dict[str, Annotated[float, Field(ge=0)]] = {}
    h_schedule: Literal["any", "decreasing", "increasing"] = "any"  # which of a noise's steps are drawn as it goes on
    # what GAD and anchor compare the student's output with: the x0 that leads to the teacher's next state, the
    # teacher's final x0 from this state, or that from the noise with the end of the student's own sampling trajectory
    target: Target = "next_state"
    # through which calls of that trajectory
    end_to_end_gradient: Annotated[EndToEndGradient, with_own("target", "end_to_end")] = "last_call"
    # GAD's and anchor's weights held such that the norm of either's gradient is that many times the base loss's, by
    # running means of the norms, measured every so many steps; instead of gad_weight and anchor_weight
    gradient_ratio: Positive | None = None
    gradient_ratio_every: Annotated[Count, with_any("gradient_ratio")] = 10  # steps
    # times where GAD acts: those of the pair's student timestep, in score forms those of the re-noised state
    gad_interval: Annotated[list[float], Field(min_length=2, max_length=2)] = [0.0, 1.0]
    # GAD and anchor on every n-th pair of a batch: a smaller call, the same mean; score forms read no stored pairs and
    # stay on the whole batch
    gad_batch_stride: Annotated[Count, EXTRA_CALL] = 1
    gad_fraction: Annotated[float, Field(gt=0, le=1)] = 1.0  # of the steps, at a weight raised by its inverse
    # steps of equal_time over the baseline's: an upper bound of what GAD's further call costs. One-step students pay
    # less for GAD, so this control is generous
    equal_time_factor: Annotated[float, Field(ge=1)] = 1.5
    # on regression to the stored pairs, in the anchored variants
    anchor_weight: Annotated[float, Field(ge=0), ANCHORED] = 1.0
    # learning rate of the fake score or discriminator over the student's
    auxiliary_lr_ratio: Annotated[Positive, ANCHORED] = 5.0
    auxiliary_updates: Annotated[Count, ANCHORED] = 1  # for each update of the student
    # updates of the auxiliary network before the student's first one
    auxiliary_warmup: Annotated[int, Field(ge=0), ANCHORED] = 0
    # shared: the fake score learns from the student's own samples of the step, each made only as far as the timestep
    # that is drawn for it: fewer calls, other random numbers
    rollout: Annotated[Literal["separate", "shared"], WITH_FAKE_SCORE] = "separate"
    # on smooth-L1 regression to the endpoint of every noise; 1 in the released code (Nitro-1), the ordinary LADD
    regression_weight: Annotated[float, Field(ge=0), with_paradigm("ladd")] = 0.0
    # tdm; None: DMD's mse with one sampling step, TDM's pseudo_huber else
    tdm_loss: Annotated[Literal["pseudo_huber", "mse"] | None, with_paradigm("tdm")] = None
    sid_alpha: Annotated[Positive, with_paradigm("sid")] = 1.0  # sid
    ema_decay: Annotated[float, Field(ge=0, lt=1)]
    max_grad_norm: Positive = 1.0
    loss: Literal["mse", "smooth_l1"] = "mse"
    checkpoint_every: Count = 100  # steps
    log_every: Count = 10  # steps
    # what monitors a training while it goes on: its files are in data/<recipe>/live; wandb keeps offline by itself
    tracker: Literal["dvclive", "tensorboard", "wandb"] = "dvclive"
    validation: ValidationConfig | None = None  # held-out curves while training; without it nothing is measured
    seeds: Annotated[list[Seed], Field(min_length=1)]
    side_variants: list[str] = []  # variants that are trained on the first ``side_seeds`` of the seeds alone
    side_seeds: Annotated[Count, with_any("side_variants")] = 1
    # processes that train seeds side by side, to the same bits; auto: as many as there are cores and memory for
    workers: Annotated[Count | Literal["auto"], with_own("shard", False)] = "auto"
    device: Device = "cpu"
    dtype: Dtype = "float32"  # networks compute in it; weights that learn, differences and losses are float32
    gradient_checkpointing: Annotated[bool, ON_IMAGES] = False
    compile: bool = False  # torch.compile where it works
    channels_last: Annotated[bool, ON_UNETS] = False  # UNets
    shard: bool = False  # FSDP: weights, gradients and optimiser states are sharded over the processes
    # adamw_fused: in one pass on a CPU as well, and so the moving average: faster, other rounding; adamw_8bit needs
    # bitsandbytes
    optimizer: Literal["adamw", "adamw_fused", "adamw_8bit"] = "adamw"
    hidden: Annotated[Count, ON_SWISS_ROLL] = 128  # width of the Swiss roll's perceptron
    layers: Annotated[Count, ON_SWISS_ROLL] = 4  # hidden layers of the Swiss roll's perceptron

    @model_validator(mode="after")
    def _possible(self):
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds repeat: {self.seeds}")
        unknown = sorted(set(self.side_variants) - set(VARIANTS))
        if unknown or "baseline" in self.side_variants:
            fault = f"unknown variant {unknown[0]!r}" if unknown else "the baseline needs all seeds"
            raise ValueError(f"side_variants: {fault}; there are {', '.join(VARIANTS)}")
        weightless = [
            name for name in self.variant_weights if name not in VARIANTS or VARIANTS[name].weighted_term is None
        ]
        if weightless:
            weighted = ", ".join(name for name in VARIANTS if VARIANTS[name].weighted_term)
            raise ValueError(f"variant_weights: {weightless[0]!r} has no term to weigh; those that have: {weighted}")
        for name in [*self.variant_weights, *self.side_variants]:
            check_variant(name, self.paradigm)
        if self.gad_batch_stride > 1 and self.paradigm == "matching":
            raise ValueError("gad_batch_stride has nothing to save in output matching, whose pairs serve both terms")
        check_student_options(self)
        self.parts_of(1)
        if self.shard and (self.dtype == "float16" or self.optimizer != "adamw"):
            raise ValueError("shard goes with dtype float32 or bfloat16 and optimizer adamw")
        if self.shard and self.validation is not None:
            raise ValueError("shard goes without validation, which needs the whole student in one process")
        if self.shard and (self.compile or self.channels_last or self.lora):
            raise ValueError("shard goes without compile, channels_last and lora")
        if self.shard and self.gad_interval != [0.0, 1.0]:
            raise ValueError("shard needs GAD at all times, gad_interval [0, 1]: processes call networks equally often")
        low, high = self.gad_interval
        if not 0 <= low < high <= 1:
            raise ValueError(f"gad_interval must go up within 0 and 1, not {self.gad_interval}")
        return self

    def weight_of(self, variant: str) -> float:
        """The weight of a variant's term: ``gad_weight``, unless it has its own."""
        return self.variant_weights.get(variant, self.gad_weight)

    @property
    def misaligned(self) -> bool:
        """Whether a step reads other samples' prompts: LADD shows real samples under them as further fakes."""
        return self.paradigm == "ladd"

    def seeds_of(self, variant: str) -> list[int]:
        """The seeds that a variant is trained with, in order."""
        return self.seeds[: self.side_seeds] if variant in self.side_variants else self.seeds

    def parts_of(self, processes: int) -> int:
        """Parts of a batch: ``accumulate``, or what is next above it that so many processes share equally.

        Raises ValueError, in one line, where a part would not be whole pairs, or ``gad_batch_stride`` not divide those
        of the batch; with ``shard`` and ``gradient_ratio``, whose parts all need GAD's call, those of a part.
        """
        parts = processes * -(-self.accumulate // processes)
        if self.batch_size % (2 * parts):
            among = f" among {processes} processes" if processes > 1 else ""
            raise ValueError(f"batch_size {self.batch_size} does not part into {parts} times whole pairs{among}")
        alike = self.shard or self.gradient_ratio is not None
        pairs, whose = (self.batch_size // 2 // parts, "part") if alike else (self.batch_size // 2, "batch")
        if pairs % self.gad_batch_stride:
            raise ValueError(f"gad_batch_stride {self.gad_batch_stride} does not divide the {pairs} pairs of a {whose}")
        return parts
