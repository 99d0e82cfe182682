"""T5 learns to read before a network listens to it."""

import copy

import pytest
import torch
from torch import nn

from gad.data.emoji.backbones import build_backbone
from gad.data.emoji.latents import latent_set, latent_set_tokens, latent_training_batches
from gad.data.emoji.t5_pretraining import NO_WORD, OFFSETS, neighbour_tokens, pretrain_t5, t5_pretraining_loss
from gad.data.emoji.teacher_training import train_teacher
from gad.data.emoji.text_encoders import MAX_TOKENS
from gad.models.pipeline_loading import load_pipeline
from gad.models.token_encoding import text_encoding_tokens
from gad.runtime.paths import stage_dir


@pytest.fixture(scope="module")
def captions(pipelines):
    return latent_set_tokens(pipelines["dit"], 4096)


@pytest.fixture(scope="module")
def reader(vae, captions):
    """The encoder after 60 steps, and its losses."""
    encoder = build_backbone("dit", vae, seed=0).text_encoder
    return encoder, [row["loss"] for row in pretrain_t5(encoder, *captions, num_steps=60, seed=0)]


def test_each_word_has_the_tokens_around_it_as_labels():
    ids, mask = torch.tensor([[5, 6, 7, 0]]), torch.tensor([[1, 1, 1, 0]])
    labels = dict(zip(OFFSETS, neighbour_tokens(ids, mask)[0].T.tolist(), strict=True))
    assert labels[0] == [5, 6, 7, NO_WORD]
    assert labels[1] == [6, 7, NO_WORD, NO_WORD]
    assert labels[-2] == [NO_WORD, NO_WORD, 5, NO_WORD]


def test_the_reading_loss_is_the_mean_log_probability_of_the_neighbours(pipelines):
    encoder = pipelines["dit"].text_encoder
    ids, mask = text_encoding_tokens(pipelines["dit"].tokenizer, ["a sun above a car", "two dogs"], MAX_TOKENS)
    words = encoder.config.vocab_size
    heads = nn.Linear(encoder.config.d_model, len(OFFSETS) * words, bias=False)
    with torch.no_grad():
        loss = t5_pretraining_loss(encoder, heads, ids, mask)
        answer = encoder(ids, attention_mask=mask).last_hidden_state
    for row, expected in enumerate(loss.tolist()):
        terms, length = [], int(mask[row].sum())
        for place in range(length):
            for k, offset in enumerate(OFFSETS):
                if 0 <= place + offset < length:
                    logits = heads.weight[k * words : (k + 1) * words] @ answer[row, place]
                    terms.append(-logits.log_softmax(0)[ids[row, place + offset]].item())
        assert expected == pytest.approx(sum(terms) / len(terms), rel=1e-5)


def test_t5_learns_its_neighbours_and_is_frozen_afterwards(reader):
    encoder, losses = reader
    assert losses[-1] < losses[0] / 4
    assert not any(p.requires_grad for p in encoder.parameters())


def test_the_committed_t5_tells_captions_apart_that_differ_in_order_alone():
    pipeline = load_pipeline(stage_dir("emoji_dit", "teacher"))
    captions = ["a sun above a green car on a blue background", "a green car above a sun on a blue background"]
    ids, mask = text_encoding_tokens(pipeline.tokenizer, captions, MAX_TOKENS)
    sun = ids[0, 1]
    with torch.no_grad():
        first, second = pipeline.text_encoder(ids, attention_mask=mask).last_hidden_state
    here, there = first[ids[0] == sun][0], second[ids[1] == sun][0]
    assert (here - there).norm() > 0.3 * here.norm()


def test_a_frozen_text_encoder_stays_as_it_is_while_the_teacher_trains(reader, vae):
    pipeline = build_backbone("dit", vae, seed=0)
    pipeline.text_encoder = copy.deepcopy(reader[0])
    batch, empty = latent_training_batches(pipeline, latent_set(vae, 12), 4)
    before = [p.clone() for p in pipeline.text_encoder.parameters()]
    list(train_teacher(pipeline, batch, empty, num_steps=2, lr=1e-3, seed=0))
    assert all(torch.equal(a, b) for a, b in zip(before, pipeline.text_encoder.parameters(), strict=True))
