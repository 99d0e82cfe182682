"""The `student` section."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from gad.config.section import Count, Device, Dtype, Positive, Section, Seed


class StudentConfig(Section):
    """How students are trained: a paradigm, with the response form of GAD."""

    paradigm: Literal["matching", "ladd", "tdm", "sid"] = "matching"  # tdm with one node is DMD2
    num_steps: Count
    batch_size: Annotated[int, Field(ge=2, multiple_of=2)]  # samples; pairs count twice
    accumulate: Count = 1  # parts of a batch, one after another: less memory, the same gradient
    lr: Positive
    warmup_steps: Annotated[int, Field(ge=0)] = 50
    gad_weight: Annotated[float, Field(ge=0)]  # lambda on the relative mismatch of derivatives; 0 is the baseline
    h_schedule: Literal["any", "decreasing", "increasing"] = "any"  # which of a noise's steps are drawn as it goes on
    gad_interval: Annotated[list[float], Field(min_length=2, max_length=2)] = [0.0, 1.0]  # times t where GAD acts
    gad_fraction: Annotated[float, Field(gt=0, le=1)] = 1.0  # of the steps, at a weight raised by its inverse
    equal_time_factor: Annotated[float, Field(ge=1)] = 1.5  # steps of equal_time over the baseline's: gad's cost a step
    anchor_weight: Annotated[float, Field(ge=0)] = 1.0  # on regression to the stored pairs, in the anchored variants
    auxiliary_lr_ratio: Positive = 5.0  # learning rate of the fake score or discriminator over the student's
    auxiliary_updates: Count = 1  # for each update of the student
    regression_weight: Annotated[float, Field(ge=0)] = 0.0  # ladd: on regression to the endpoint of every noise
    sid_alpha: Positive = 1.0  # sid
    ema_decay: Annotated[float, Field(ge=0, lt=1)]
    max_grad_norm: Positive = 1.0
    loss: Literal["mse", "smooth_l1"] = "mse"
    checkpoint_every: Count = 100  # steps
    log_every: Count = 10  # steps
    seeds: Annotated[list[Seed], Field(min_length=1)]
    device: Device = "cpu"
    dtype: Dtype = "float32"  # networks compute in it; weights that learn, differences and losses are float32
    gradient_checkpointing: bool = False
    compile: bool = False  # torch.compile where it works
    channels_last: bool = False  # UNets
    optimizer: Literal["adamw", "adamw_8bit"] = "adamw"  # adamw_8bit needs bitsandbytes
    hidden: Count = 128  # width of the Swiss roll's perceptron
    layers: Count = 4  # hidden layers of the Swiss roll's perceptron

    @model_validator(mode="after")
    def _possible(self):
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds repeat: {self.seeds}")
        if self.batch_size % (2 * self.accumulate):
            raise ValueError(f"batch_size {self.batch_size} does not part into {self.accumulate} times whole pairs")
        low, high = self.gad_interval
        if not 0 <= low < high <= 1:
            raise ValueError(f"gad_interval must go up within 0 and 1, not {self.gad_interval}")
        return self
