"""What several test modules share by name."""

import torch
from transformers import CLIPConfig, CLIPModel

from gad.data.emoji.text_encoders import clip_text

PROMPTS = ["a red car on a white background", "two Dogs on a cyan background"]


def tiny_clip() -> tuple:
    """A tokenizer and an untrained CLIPModel of 32 x 32 pixels, the same at every call."""
    tokenizer, text = clip_text()
    vision = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
              "image_size": 32, "patch_size": 8}  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = CLIPModel(CLIPConfig(text_config=text.config.to_dict(), vision_config=vision, projection_dim=8))
    return tokenizer, model
