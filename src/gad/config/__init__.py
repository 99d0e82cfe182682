"""What a recipe may say: one checked, frozen model per stage, a file each.

Unknown keys, wrong types and impossible values are errors of one line.
"""

from gad.config.control import ControlConfig, DiversityConfig, NoiseOptimisationConfig, NoiseQueryConfig
from gad.config.external import ExternalStudent
from gad.config.fidelity import FidelityConfig, InversionConfig, NegativePromptsConfig, ScoreConfig, SeedsConfig
from gad.config.noise_pairs import NoisePairsConfig
from gad.config.prompts import Captions, PromptsConfig, PromptSource
from gad.config.recipe import Recipe, load_recipe, recipe_names
from gad.config.sampling import Sampling
from gad.config.section import Section
from gad.config.sensitivity import SensitivityConfig
from gad.config.student import StudentConfig
from gad.config.teacher import TeacherConfig
from gad.config.validation import ValidationConfig
from gad.config.yaml_file import RecipeError

__all__ = [
    "Captions",
    "ControlConfig",
    "DiversityConfig",
    "FidelityConfig",
    "InversionConfig",
    "NegativePromptsConfig",
    "NoiseOptimisationConfig",
    "NoisePairsConfig",
    "NoiseQueryConfig",
    "ExternalStudent",
    "PromptSource",
    "PromptsConfig",
    "Recipe",
    "RecipeError",
    "Sampling",
    "ScoreConfig",
    "Section",
    "SeedsConfig",
    "SensitivityConfig",
    "StudentConfig",
    "TeacherConfig",
    "ValidationConfig",
    "load_recipe",
    "recipe_names",
]
