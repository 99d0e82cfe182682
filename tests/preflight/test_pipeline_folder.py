"""What is wrong with a folder of a family with several text encoders; those with one: test_doctor.py."""

import hub_folders

from gad.preflight.pipeline_folder import faults_of_pipeline


def test_the_doctor_names_a_file_that_a_second_text_encoder_lacks(tmp_path):
    hub_folders.flux().save_pretrained(tmp_path / "flux")
    for file in (tmp_path / "flux" / "tokenizer_2").iterdir():
        file.unlink()
    (tmp_path / "flux" / "text_encoder_2" / "model.safetensors").unlink()
    told = [what for what, _ in faults_of_pipeline(tmp_path / "flux", side=hub_folders.SIDE)]
    assert any(what.startswith("tokenizer_2/ has no ") for what in told)
    assert any(what.startswith("text_encoder_2/ ") for what in told)
