"""Tiny real objects that the tests share: one untrained pipeline of each family, in memory and on disk."""

import hub_folders
import pytest
import torch
from tiny import PROMPTS
from torch.nn.attention import SDPBackend, sdpa_kernel

from gad.config import load_recipe
from gad.data.emoji.autoencoder import build_vae
from gad.data.emoji.backbones import BUILDERS, build_backbone
from gad.data.emoji.clip import load_emoji_clip
from gad.data.emoji.detector import load_emoji_detector
from gad.data.emoji.teacher import make_teacher
from gad.data.emoji.validation import validation_scenes
from gad.data.noise_pairs import NoisePairs
from gad.data.pair_generation import generate_noise_pairs
from gad.data.swiss_roll import make_swiss_roll
from gad.diffusion.schedule import CosineSchedule
from gad.models.exact import ExactDenoiser
from gad.models.model import Model, load_model
from gad.models.text_encoding import text_encoding_of_prompts
from gad.runtime.paths import EMOJI


@pytest.hookimpl(tryfirst=True)  # pytest-xdist reads the marks afterwards
def pytest_collection_modifyitems(items):
    """What asks for a fixture that is costly to build runs in one worker, where it is built once: --dist loadgroup."""
    for item in items:
        if "hub_run" in item.fixturenames:
            item.add_marker(pytest.mark.xdist_group("hub"))
        costly = item.get_closest_marker("slow_for")
        if costly and set(costly.args) & set(item.callspec.id.split("-")):
            item.add_marker(pytest.mark.slow)
    items.sort(key=_place)


def _place(item: pytest.Item) -> int:
    """What takes longest first, so that both workers end together: the chain of stages, groups, single tests."""
    if item.get_closest_marker("chain"):
        return 0
    return 1 if item.get_closest_marker("xdist_group") else 2


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Sums come out in the same order on every machine."""
    torch.set_num_threads(1)


@pytest.fixture
def math_attention():
    """The only attention kernel that forward-mode derivatives pass through."""
    with sdpa_kernel(SDPBackend.MATH):
        yield


@pytest.fixture(scope="session")
def vae():
    """A random autoencoder."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build_vae().eval().requires_grad_(False)


@pytest.fixture(scope="session")
def pipelines(vae) -> dict:
    """An untrained, frozen pipeline of each family, by backbone."""
    built = {backbone: build_backbone(backbone, vae, seed=0) for backbone in BUILDERS}
    for pipeline in built.values():
        pipeline.set_progress_bar_config(disable=True)
        for module in (pipeline.text_encoder, getattr(pipeline, "unet", None) or pipeline.transformer):
            module.eval().requires_grad_(False)
    return built


@pytest.fixture(scope="session", params=BUILDERS)
def backbone(request) -> str:
    return request.param


@pytest.fixture(scope="session")
def pipeline(pipelines, backbone):
    """Each family in turn. Shared by the whole run: do not change it."""
    return pipelines[backbone]


@pytest.fixture(scope="session")
def saved(pipeline, backbone, tmp_path_factory):
    """The folder that ``save_pretrained`` writes for ``pipeline``."""
    folder = tmp_path_factory.mktemp("pipelines") / backbone
    pipeline.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def conditioning(pipeline):
    """Two encoded prompts."""
    return text_encoding_of_prompts(pipeline, PROMPTS)


@pytest.fixture
def noise():
    """Two latents of 4 x 8 x 8, float32."""
    return torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="session")
def truth():
    """128 scenes that no evaluator learnt from, and their images."""
    return validation_scenes(128)


@pytest.fixture(scope="session")
def detector():
    return load_emoji_detector(EMOJI / "evaluators" / "detector")


@pytest.fixture(scope="session")
def clip():
    return load_emoji_clip(EMOJI / "evaluators" / "clip")


@pytest.fixture(scope="session")
def smoke():
    """The smallest recipe there is."""
    return load_recipe("smoke")


@pytest.fixture(scope="session")
def point_teacher(smoke):
    """The exact denoiser of the smoke recipe's Swiss roll."""
    points = make_swiss_roll(smoke.teacher.num_points, smoke.teacher.seed).view(-1, 2, 1, 1)
    return Model(ExactDenoiser(points, CosineSchedule()), (2, 1, 1))


@pytest.fixture(scope="session")
def point_pairs(smoke, point_teacher, tmp_path_factory):
    """The smoke recipe's noise pairs."""
    folder = tmp_path_factory.mktemp("smoke") / "noise_pairs"
    list(generate_noise_pairs(folder, point_teacher, "hash", smoke.noise_pairs))
    return NoisePairs(folder)


@pytest.fixture(scope="session", params=hub_folders.BUILDERS)
def hub_run(request, tmp_path_factory):
    """A recipe on a tiny local folder of its teacher's class: settings, teacher, pairs, and where all lies."""
    root = tmp_path_factory.mktemp(request.param)
    settings = hub_folders.small_recipe(request.param, root)
    assert list(make_teacher(settings.teacher, root / "teacher", root / "no_vae")) == []
    teacher = load_model(root / "teacher")
    list(generate_noise_pairs(root / "pairs", teacher, "hash", settings.noise_pairs))
    return settings, teacher, NoisePairs(root / "pairs"), root
