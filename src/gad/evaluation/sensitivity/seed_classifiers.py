"""What learns to tell seeds apart: logistic regression on pixels, or a fine-tuned image classifier.

The paper fine-tunes EfficientFormer-L3, which transformers no longer ships (and timm needs torchvision): at full scale
name any image classifier that it does ship, such as ``facebook/convnextv2-tiny-1k-224`` or ``microsoft/resnet-50``.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gad.config import SeedsConfig
from gad.config.fidelity import PIXELS
from gad.metrics.pretrained import (
    preprocess_for_pretrained,
    pretrained_model_error,
    pretrained_normalisation,
)
from gad.models.weights import WeightsError, load_whole_weights
from gad.runtime.paths import folder_or_hub_name

if TYPE_CHECKING:  # imported where they are used at run time, since that takes seconds
    from transformers import PreTrainedModel

Predict = Callable[[Tensor], Tensor]
"""Prepared images ``[N, ...]`` to seed numbers ``[N]``."""


@dataclass(frozen=True)
class Classifier:
    """How images are prepared once, and how a predictor is learned from prepared ones.

    ``learn(train, labels, val, val_labels)`` is deterministic.
    """

    prepare: Callable[[Tensor], Tensor]
    learn: Callable[[Tensor, Tensor, Tensor, Tensor], Predict]


HEAD = "classifier"  # the module of transformers' image classifiers that is trained anew
STRENGTHS = (1e-5, 1e-4, 1e-3, 1e-2)  # inverse regularisation tried on the validation prompts
SIDE = 32  # pixels that images are shrunk to
REACH = 9  # pixels on a side of the local mean
TEXTURE = 0.05  # largest deviation from the local mean that counts as texture and not as the edge of a thing


def classifier_pixel_features(images: Tensor) -> Tensor:
    """What of images ``[N, 3, H, W]`` in [-1, 1] a noise can settle, ``[N, D]``: the small image, and its texture.

    Texture is the image less its local mean, cut to small values so that the edges of things, which the prompt settles,
    do not drown it. Features of an ImageNet network tell things apart and find almost nothing of a seed here.
    """
    images = images.float()
    around = F.avg_pool2d(F.pad(images, (REACH // 2,) * 4, mode="replicate"), REACH, stride=1)
    texture = (images - around).clamp(-TEXTURE, TEXTURE)
    size = (min(SIDE, images.shape[-2]), min(SIDE, images.shape[-1]))
    return torch.cat([F.interpolate(part, size=size, mode="area").flatten(1) for part in (images, texture)], dim=1)


def learn_seed_regression(train: Tensor, labels: Tensor, val: Tensor, val_labels: Tensor) -> Predict:
    """Logistic regression on standardised features; its strength is the one that reads the validation images best.

    Principal axes of the training images lose nothing that they span, and make it fast. One class is a ValueError.
    """
    from sklearn.decomposition import PCA  # here, since it takes seconds
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if len(labels.unique()) < 2:
        raise ValueError("a seed classifier needs images of at least 2 seeds, got one class only")
    train_rows, val_rows = train.double().numpy(), val.double().numpy()
    axes = make_pipeline(StandardScaler(), PCA(svd_solver="full")).fit(train_rows)
    train_rows, val_rows = axes.transform(train_rows), axes.transform(val_rows)
    fitted = [LogisticRegression(C=c, max_iter=5000).fit(train_rows, labels.numpy()) for c in STRENGTHS]
    losses = [F.nll_loss(torch.from_numpy(f.predict_log_proba(val_rows)), val_labels).item() for f in fitted]
    best = fitted[losses.index(min(losses))]
    return lambda images: torch.from_numpy(best.predict(axes.transform(images.double().numpy())))


def seed_classifier_network(
    source: str, *, num_labels: int, shapes_only: bool = False, **options: Any
) -> "PreTrainedModel":
    """A transformers image classifier in float32 with a new last layer of ``num_labels``; with ``shapes_only`` on the
    device "meta".

    Its head is trained here and may be missing; all else has to be there. Raises ValueError, in one line that says how
    to get it, when the model is missing, not whole, or has no head called ``classifier``.
    """
    from transformers import AutoModelForImageClassification  # here, since it takes seconds

    try:
        model = load_whole_weights(
            AutoModelForImageClassification,
            folder_or_hub_name(source),
            fresh=(HEAD,),
            shapes_only=shapes_only,
            **options,
        )
        head = getattr(model, HEAD, None)
        layers = [] if head is None else [m for m in head.modules() if isinstance(m, nn.Linear)]
        if not layers:
            raise WeightsError(f"{type(model).__name__} has no linear head called {HEAD}; name another model")
    except Exception as error:  # transformers raises many kinds for a folder that is missing or broken
        raise pretrained_model_error(source, error) from error
    last = layers[-1]
    last.out_features = model.config.num_labels = model.num_labels = num_labels
    last.weight = nn.Parameter(last.weight.new_zeros(num_labels, last.in_features))
    if last.bias is not None:
        last.bias = nn.Parameter(last.bias.new_zeros(num_labels))
    return model


def _fine_tuner(source: str, config: SeedsConfig, *, device: torch.device | str = "cpu") -> Classifier:
    """A transformers image classifier from a hub name or folder, fine-tuned with AdamW; its best epoch on validation.

    It learns on ``device`` from images that stay on the CPU.
    Raises ValueError as :func:`seed_classifier_network`.
    """
    start = seed_classifier_network(source, num_labels=config.num_seeds)
    mean, std = pretrained_normalisation(source, None)
    side = getattr(start.config, "image_size", 224)

    def train_it(train: Tensor, labels: Tensor, val: Tensor, val_labels: Tensor) -> Predict:
        if len(labels.unique()) < 2:
            raise ValueError("a seed classifier needs images of at least 2 seeds, got one class only")
        return _fine_tune(copy.deepcopy(start).to(device), train, labels, val, val_labels, config)

    return Classifier(lambda images: preprocess_for_pretrained(images, side, mean, std), train_it)


@torch.no_grad()
def _logits(model: "PreTrainedModel", images: Tensor, batch_size: int) -> Tensor:
    model.eval()
    return torch.cat([model(pixel_values=part.to(model.device)).logits.cpu() for part in images.split(batch_size)])


def _fine_tune(model, train, labels, val, val_labels, config: SeedsConfig) -> Predict:
    generator = torch.Generator().manual_seed(config.seed)
    with torch.random.fork_rng():  # dropout and the new head draw from the global state
        torch.manual_seed(config.seed)
        for parameter in model.classifier.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=0.02)
            else:
                torch.nn.init.zeros_(parameter)
        optimizer = torch.optim.AdamW(model.parameters(), lr=config.lr)
        best, kept = float("inf"), None
        for _ in range(config.epochs):
            model.train()
            for part in torch.randperm(len(train), generator=generator).split(config.batch_size):
                logits = model(pixel_values=train[part].to(model.device)).logits
                loss = F.cross_entropy(logits, labels[part].to(model.device))
                if not loss.isfinite():
                    raise FloatingPointError("the seed classifier's loss is not finite; lower its lr")
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            val_loss = F.cross_entropy(_logits(model, val, config.batch_size), val_labels).item()
            if val_loss < best:
                best, kept = val_loss, copy.deepcopy(model.state_dict())
    model.load_state_dict(kept)
    return lambda images: _logits(model, images, config.batch_size).argmax(1)


def build_classifier(config: SeedsConfig, *, device: torch.device | str = "cpu") -> Classifier:
    """The classifier that the recipe names; the one for the laptop works on the CPU."""
    if config.classifier == PIXELS:
        return Classifier(classifier_pixel_features, learn_seed_regression)
    return _fine_tuner(config.classifier, config, device=device)
