"""Small tokenizers and text encoders, each of the class that its pipeline is published with.

Every caption word is one token. The encoders are a few layers deep. CLIP and Gemma are trained together with their
denoiser and saved frozen; T5 learns to read before, see ``t5_pretraining.py``.
"""

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from gad.data.emoji.scenes import BACKGROUNDS, COUNTS, RELATIONS
from gad.data.emoji.sprites import COLOURS, NOUNS

if TYPE_CHECKING:  # imported where they are used at run time, since that takes seconds
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

MAX_TOKENS = 20  # longer prompts are cut
WIDTH = 96
LAYERS = 2
HEADS = 4

Bpe = tuple[dict[str, int], list[tuple[str, str]]]


def text_encoder_vocabulary() -> list[str]:
    """Every word that a caption can contain, sorted."""
    fixed = {"on", "a", "background"} | {word for relation in RELATIONS for word in relation.split()}
    nouns = {noun + ending for noun in NOUNS for ending in ("", "s")}
    return sorted(fixed | nouns | set(COUNTS.values()) | set(COLOURS) | set(BACKGROUNDS))


def _bpe(corpus: Iterable[str], *, suffix: str | None, pre_tokenizer: pre_tokenizers.PreTokenizer) -> Bpe:
    """Vocabulary and merges that make each word of the corpus one token."""
    ending = {"end_of_word_suffix": suffix} if suffix else {}
    tokenizer = Tokenizer(models.BPE(**ending))
    tokenizer.pre_tokenizer = pre_tokenizer
    letters = list("abcdefghijklmnopqrstuvwxyz")
    # named up front, or the trainer numbers the last letters in the order of a randomly seeded hash map
    last = [letter + suffix for letter in letters] if suffix else []
    trainer = trainers.BpeTrainer(
        vocab_size=2000, min_frequency=1, show_progress=False, initial_alphabet=letters, special_tokens=last, **ending
    )
    tokenizer.train_from_iterator(corpus, trainer)
    vocab = tokenizer.get_vocab()
    model = json.loads(tokenizer.to_str())["model"]
    return vocab, [tuple(merge) for merge in model["merges"]]


def _renumber(special: list[str], vocab: dict[str, int]) -> dict[str, int]:
    """Token ids with the special tokens first."""
    ordered = special + [token for token in sorted(vocab, key=vocab.__getitem__) if token not in special]
    return {token: index for index, token in enumerate(ordered)}


def clip_text() -> "tuple[PreTrainedTokenizerBase, PreTrainedModel]":
    """A CLIP tokenizer and text model, as in Stable Diffusion."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer  # here, since it takes seconds

    vocab, merges = _bpe(
        text_encoder_vocabulary(), suffix="</w>", pre_tokenizer=pre_tokenizers.ByteLevel(add_prefix_space=False)
    )
    vocab = _renumber(["<|startoftext|>", "<|endoftext|>"], vocab)
    tokenizer = CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=MAX_TOKENS)
    config = CLIPTextConfig(
        vocab_size=len(vocab),
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        max_position_embeddings=MAX_TOKENS,
        bos_token_id=vocab["<|startoftext|>"],
        eos_token_id=vocab["<|endoftext|>"],
        pad_token_id=vocab["<|endoftext|>"],
    )
    return tokenizer, CLIPTextModel(config)


def t5_text() -> "tuple[PreTrainedTokenizerBase, PreTrainedModel]":
    """A T5 tokenizer and encoder, as in PixArt."""
    from transformers import T5Config, T5EncoderModel, T5Tokenizer  # here, since it takes seconds

    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -20.0)]
    pieces += [(f"▁{word}", -4.0) for word in text_encoder_vocabulary()]
    pieces += [(letter, -12.0) for letter in "▁abcdefghijklmnopqrstuvwxyz"]
    tokenizer = T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=MAX_TOKENS)
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=WIDTH,
        d_kv=WIDTH // HEADS,
        d_ff=4 * WIDTH,
        num_layers=LAYERS,
        num_heads=HEADS,
        feed_forward_proj="gated-gelu",
        dropout_rate=0.0,
    )
    return tokenizer, T5EncoderModel(config)


def gemma_text() -> "tuple[PreTrainedTokenizerBase, PreTrainedModel]":
    """A Gemma tokenizer and Gemma-2 model, as in SANA."""
    from transformers import Gemma2Config, Gemma2Model, GemmaTokenizer  # here, since it takes seconds

    starts = [
        f"▁{word}" for word in text_encoder_vocabulary()
    ] + text_encoder_vocabulary()  # a word carries the space before it, except the first
    vocab, merges = _bpe(starts, suffix=None, pre_tokenizer=pre_tokenizers.Split(" ", behavior="removed"))
    vocab = _renumber(["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"], vocab)
    tokenizer = GemmaTokenizer(vocab=vocab, merges=merges, model_max_length=MAX_TOKENS, add_bos_token=True)
    config = Gemma2Config(
        vocab_size=len(vocab),
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        head_dim=WIDTH // HEADS,
        query_pre_attn_scalar=WIDTH // HEADS,
        max_position_embeddings=512,
        sliding_window=512,
        bos_token_id=2,
        eos_token_id=1,
        pad_token_id=0,
    )
    return tokenizer, Gemma2Model(config)
