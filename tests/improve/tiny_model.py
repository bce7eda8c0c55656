"""A vision-language model of 100,000 random weights that reads and writes every character: what the trainer is tried on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

TEMPLATE = (
    "{% for turn in messages %}<{{ turn['role'] }}>{% for part in turn['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}{% endfor %}<end>\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
SIDE_PX, PATCH_PX = 28, 14


def write_tiny_model(folder: Path, texts: list[str], *, length: int = 2048, answers_end: bool = False) -> Path:
    """Weights, tokenizer and processor, as `transformers` saves them: LLaVA's architecture.

    Args:
        folder: where to.
        texts: what the tokenizer learns its pieces from; any other text can be written, too.
        length: tokens that it can read.
        answers_end: its answers end after some ten tokens; without that, random weights babble to the longest length.
    """
    import torch
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    special = ["<pad>", "<end>", "<image>", "<system>", "<user>", "<assistant>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=2000, special_tokens=special, initial_alphabet=alphabet, show_progress=False)
    )
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="<pad>", eos_token="<end>")
    images = transformers.CLIPImageProcessor(size={"shortest_edge": SIDE_PX}, crop_size={"height": SIDE_PX, "width": SIDE_PX})
    processor = transformers.LlavaProcessor(
        image_processor=images,
        tokenizer=tokenizer,
        patch_size=PATCH_PX,
        vision_feature_select_strategy="default",
        chat_template=TEMPLATE,
        image_token="<image>",
        num_additional_image_tokens=1,
    )
    processor.save_pretrained(folder)
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    eyes = transformers.CLIPVisionConfig(**sizes, image_size=SIDE_PX, patch_size=PATCH_PX)
    words = transformers.LlamaConfig(
        **sizes, vocab_size=len(tokenizer), max_position_embeddings=length, pad_token_id=0, eos_token_id=1, bos_token_id=None
    )
    config = transformers.LlavaConfig(
        vision_config=eyes, text_config=words, image_token_index=2, vision_feature_layer=-1, image_seq_length=4, eos_token_id=1
    )
    model = transformers.LlavaForConditionalGeneration(config)
    model.generation_config.eos_token_id = 1
    model.generation_config.pad_token_id = 0
    if answers_end:
        model.generation_config.exponential_decay_length_penalty = (6, 2.0)
    model.save_pretrained(folder)
    return folder
