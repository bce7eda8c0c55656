"""The Hugging Face provider with a real (tiny, random) checkpoint, where the optional extra is installed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from millrace.errors import RunFailed
from millrace.llm import Request, system, user
from millrace.llm.open_chat import open_chat
from millrace.llm.settings import ModelSettings
from tests.llm.servers import run

transformers = pytest.importorskip("transformers", reason="needs the optional extra: pip install millrace[huggingface]")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers

    folder = tmp_path_factory.mktemp("tiny")
    words = ["<pad>", "<eos>", "<unk>", *["one", "two", "three", "four", "five", "six", "seven"]]
    inner = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>"
    )
    tokenizer.chat_template = "{% for turn in messages %}{{ turn['content'] }} {% endfor %}"
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=len(words),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=128,
        pad_token_id=0,
        eos_token_id=1,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def test_a_local_checkpoint_answers_the_same_alone_and_in_a_batch(checkpoint: Path) -> None:
    settings = ModelSettings(provider="huggingface", model=str(checkpoint), options={"device": "cpu", "dtype": "float32"})
    texts = ["one two", "three", "four five six", "seven one"]

    async def main() -> None:
        chat = open_chat(settings, None)
        requests = [Request(messages=(system("one"), user(text)), max_tokens=6) for text in texts]
        together = await asyncio.gather(*(chat.complete(request) for request in requests))
        alone = [await chat.complete(request) for request in requests]
        assert [reply.text for reply in together] == [reply.text for reply in alone]
        assert all(reply.usage.input_tokens and reply.usage.output_tokens for reply in alone)
        assert any(reply.text for reply in alone)
        await chat.close()

    run(main())


def test_a_checkpoint_that_is_not_there_ends_the_run_with_its_name(tmp_path: Path) -> None:
    settings = ModelSettings(provider="huggingface", model=str(tmp_path / "nothing"), options={"device": "cpu"})

    async def main() -> None:
        chat = open_chat(settings, None)
        with pytest.raises(RunFailed, match="nothing"):
            await chat.complete(Request(messages=(user("one"),)))
        await chat.close()

    run(main())
