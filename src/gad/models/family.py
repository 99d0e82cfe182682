"""What the project knows of a family of pipelines; a family a file, the table of all in :mod:`gad.models.families`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from gad.diffusion.conditioning import Conditioning
from gad.diffusion.denoiser import NetworkCall

if TYPE_CHECKING:  # imported where they are used at run time, since that takes seconds
    from diffusers import DiffusionPipeline

NEEDS_PROMPTS = "a pipeline's network reads prompts"

PromptEncoder: TypeAlias = "Callable[[DiffusionPipeline, list[str], int], Conditioning]"
"""From a pipeline, prompts and the longest prompt's tokens to the conditioning, where the text encoders are."""


@dataclass(frozen=True)
class Family:
    """How a pipeline class is used: its network, how it is called and conditioned, and how the stock class samples."""

    network: str  # attribute of the pipeline
    call: NetworkCall
    encode: PromptEncoder
    reader: str  # attribute of the text encoder whose tokens are counted: the one that reads furthest
    max_tokens: int  # that the stock pipeline gives it
    sample_options: dict = field(default_factory=dict)  # arguments of the stock __call__ for any size and plain prompts
    text_encoders: tuple[str, ...] = ("text_encoder",)  # without which it reads no prompts
    before: tuple[str, ...] = ()  # text encoders whose tokens stand before the reader's
    masked: bool = False  # padding is hidden, and prompts lose their case first
    gives: Mapping[str, object] = field(default_factory=dict)  # what the call gives beside latents, times and prompts
    pack: int = 1  # side of the squares of latents that are channels of the network's input
    side: int | None = None  # of latents, where the network's config does not say it
    pixels: int | None = None  # to a latent's side, where the call names the size in pixels
    shifted: bool = False  # times stand closer at high noise, as the pipeline's own scheduler has them
    linear_sigmas: bool = False  # the stock pipeline hands its scheduler sigmas from 1 to 1 / steps
    tokens_option: str | None = None  # argument of the stock __call__ for the tokens of a prompt

    def latent_channels(self, config: Mapping) -> int:
        """Channels of the latents of a network of that config."""
        return config["in_channels"] // self.pack**2

    def image_tokens(self, config: Mapping, side: int) -> int:
        """Places that such a network works on for latents of ``side`` x ``side``."""
        return (side // (self.pack * config.get("patch_size", 1))) ** 2
