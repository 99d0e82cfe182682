"""How different the images of one prompt are, in EffLite0 features."""

import torch
from torch.nn import functional as F

from gad.metrics.image_features import Features, efflite0_feature_distance


def intra_prompt_distance(features: Features) -> float:
    """Mean EffLite0 distance over all pairs of images of one prompt (higher is more diverse)."""
    if len(features) < 2:
        raise ValueError(f"a distance between images needs at least 2, got {len(features)}")
    first, second = torch.triu_indices(len(features), len(features), offset=1)
    return efflite0_feature_distance(features[first], features[second]).mean().item()


def vendi_image_diversity(features: Features) -> float:
    """Vendi score with the cosine kernel: the effective number of different images, from 1 to B (higher is better)."""
    from vendi_score import vendi as vendi_score  # here, since it takes seconds

    unit = F.normalize(features.double(), dim=1)
    return float(vendi_score.score_K((unit @ unit.T).numpy()))
