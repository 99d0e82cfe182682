"""An external model's scheduler takes all of its options or is refused before any work."""

import re
import warnings

import hub_folders
import pytest
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler

from gad.config import ExternalStudent
from gad.models.external_scheduler import external_scheduler
from gad.models.pipeline_loading import load_pipeline


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scheduler") / "sd"
    hub_folders.save_teacher("sd21_ladd", folder)
    return load_pipeline(folder, shapes_only=True)


@pytest.fixture
def with_scheduler(pipeline):
    own = pipeline.scheduler

    def change(kind, **options):
        pipeline.scheduler = kind.from_config(own.config, **options) if kind is DDIMScheduler else kind(**options)
        return pipeline

    yield change
    pipeline.scheduler = own


def student(**changes) -> ExternalStudent:
    return ExternalStudent(**{"name": "mine", "source": "a/b", "num_steps": 4} | changes)


FAULTS = {
    "misspelt, of the folder's own class": (
        {"scheduler": {"timestep_spacng": "trailing"}},
        r"DDIMScheduler has no option 'timestep_spacng'; did you mean timestep_spacing\?",
    ),
    "misspelt value": ({"scheduler": {"timestep_spacing": "trailling"}}, "trailling is not supported"),
    "unknown prediction": ({"scheduler": {"prediction_type": "noise"}}, "noise"),
    "unknown betas": ({"scheduler": {"beta_schedule": "cubic"}}, "cubic"),
    "times of the folder's own class": ({"timesteps": [9, 8, 7, 6]}, "DDIMScheduler takes no timesteps"),
    "sigmas of the folder's own class": ({"sigmas": [1.0, 0.7, 0.5, 0.2]}, "DDIMScheduler takes no sigmas"),
    "more steps than it has": ({"num_steps": 2000}, "."),
    "rising times": ({"scheduler": {"class": "DDPMScheduler"}, "timesteps": [1, 2, 3, 4]}, "descending"),
    "a flow's class": ({"scheduler": {"class": "FlowMatchEulerDiscreteScheduler"}}, "the network predicts epsilon"),
}


@pytest.mark.parametrize(("changes", "message"), FAULTS.values(), ids=FAULTS)
def test_what_a_scheduler_does_not_take_is_refused_in_one_line_with_the_students_name(pipeline, changes, message):
    with pytest.raises(ValueError, match=f"^mine: scheduler: .*{message}") as error:
        external_scheduler(pipeline, student(**changes))
    assert "\n" not in str(error.value)


def test_a_class_that_drops_what_the_folder_says_is_refused(with_scheduler):
    flow = with_scheduler(FlowMatchEulerDiscreteScheduler)
    with pytest.raises(ValueError, match="the network predicts flow_prediction, DDIMScheduler would take it for eps"):
        external_scheduler(flow, student(scheduler={"class": "DDIMScheduler"}))
    rescaled = with_scheduler(DDIMScheduler, rescale_betas_zero_snr=True, prediction_type="v_prediction")
    with pytest.raises(ValueError, match="PNDMScheduler drops rescale_betas_zero_snr of the folder's"):
        external_scheduler(rescaled, student(scheduler={"class": "PNDMScheduler"}))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"num_steps": 1}, r"mine: DDIMScheduler asks its network at timestep [01] of 1000 on pure noise; .*set "
                           r"scheduler: {timestep_spacing: trailing}$"),
        ({"num_steps": 1, "scheduler": {"timestep_spacing": "trailing"}}, None),
        ({"num_steps": 1, "scheduler": {"class": "DDPMScheduler"}, "timesteps": [400]}, None),
        ({"num_steps": 1, "scheduler": {"class": "DDPMScheduler"}}, r"or timesteps: \[999\]$"),
        ({"num_steps": 4, "scheduler": {"class": "LCMScheduler"}}, None),
    ],
)  # fmt: skip
def test_pure_noise_at_a_timestep_of_little_noise_is_warned_of_once(pipeline, changes, told):
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        external_scheduler(pipeline, student(**changes))
    said = [str(warning.message) for warning in heard if str(warning.message).startswith("mine")]
    assert len(said) == (told is not None)
    assert told is None or re.search(told, said[0])
