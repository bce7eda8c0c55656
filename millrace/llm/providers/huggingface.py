"""A local Hugging Face model in this process, on this rank's own device: `pip install millrace[huggingface]`.

Requests that come in together are answered in one batched `generate`. Greedy unless the request asks for a temperature. A batch's
padding can change the last digits of a sum and, rarely, a word: `batch_size: 1` gives the same answer whatever comes in together.
"""

from __future__ import annotations

import asyncio
import base64
import importlib
import importlib.util
import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, TypedDict

import msgspec
from pydantic import PositiveInt

from millrace.config import Settings, parse_config
from millrace.errors import RunFailed, UsageError
from millrace.llm import ImagePart, Message, Reply, Request, Usage
from millrace.llm.client.structured import with_schema_in_words
from millrace.llm.failures import CallFailed
from millrace.llm.images import ImageEncoder
from millrace.llm.settings import EndpointSettings, ModelSettings
from millrace.llm.transport.http_chat import Resources

NEEDS_MODEL = TAKES_DEVICE = True
TAKES_ENDPOINTS = False


class Options(Settings):
    """How the model is loaded and run (`options:` in the model's config)."""

    device: str = "auto"
    """`cuda:0`, `cpu`, …; auto takes this rank's GPU (LOCAL_RANK) if there is one."""
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    """auto takes the checkpoint's own."""
    batch_size: PositiveInt = 8
    """Requests answered by one `generate`."""
    revision: str | None = None
    """The checkpoint's revision; null is the newest."""
    gguf_file: str | None = None
    """The GGUF file of the checkpoint to load, weights and tokenizer (needs the package gguf); null loads safetensors."""
    trust_remote_code: bool = False
    """Run code that comes with the checkpoint. Only for checkpoints you trust."""


class Generated(NamedTuple):
    """What the engine made of one request."""

    text: str
    input_tokens: int
    output_tokens: int
    finished: bool
    """False: cut off at the longest length."""


class Engine(Protocol):
    """Answers a batch; the part that knows transformers."""

    def generate(self, requests: Sequence[Request], images: Sequence[Sequence[bytes]]) -> list[Generated]:
        """One answer per request; runs in a thread."""
        ...


def open_model(settings: ModelSettings, endpoint: EndpointSettings | None, shared: Resources) -> HuggingFaceChat:
    """The model, loaded at the first request."""
    options = parse_config(Options, settings.options, where="options of provider huggingface")

    def load() -> Engine:
        return TransformersEngine(settings.model, options)

    return HuggingFaceChat(load, name=settings.model, batch_size=options.batch_size, images=shared.images)


def check(settings: ModelSettings) -> None:
    """See that the model could be loaded here, without loading it.

    Raises:
        UsageError: transformers or torch is not installed, there is no such folder, or no such GPU.
    """
    options = parse_config(Options, settings.options, where="options of provider huggingface")
    for library in ("transformers", "torch"):
        if importlib.util.find_spec(library) is None:
            raise UsageError(f"provider huggingface needs {library}: pip install 'millrace[huggingface]'")
    if settings.model.startswith(("/", "./", "../", "~")) and not Path(settings.model).expanduser().is_dir():
        raise UsageError(f"there is no checkpoint folder {settings.model} (model of provider huggingface)")
    if options.device.startswith("cuda"):
        torch: Any = importlib.import_module("torch")
        if not torch.cuda.is_available():
            raise UsageError(f"the model {settings.model} is to run on {options.device}, and torch sees no GPU here")


class HuggingFaceChat:
    """Collects requests and answers them in batches, in one thread."""

    def __init__(self, load: Any, *, name: str, batch_size: int, images: ImageEncoder) -> None:
        self.pause_s: float | None = None
        self.place = "this process"
        self._load = load
        self._name = name
        self._batch_size = batch_size
        self._images = images
        self._engine: Engine | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="generate")
        self._waiting: list[tuple[Request, list[bytes], asyncio.Future[Generated]]] = []
        self._working: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        """The checkpoint's name."""
        return self._name

    async def complete(self, request: Request) -> Reply:
        """The model's answer.

        Raises:
            CallFailed: tools (this provider has none), an image that cannot be read, or a request the model cannot take.
            UsageError: transformers is not installed.
            RunFailed: the model cannot be loaded.
        """
        if request.tools:
            raise CallFailed(
                "rejected", "the huggingface provider has no native tool calling; ask for JSON by a schema", attempts=0
            )
        if request.schema is not None:
            request = with_schema_in_words(request)
        images = [await self._bytes_of(part) for message in request.messages for part in message.images]
        answer: asyncio.Future[Generated] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, images, answer))
        if self._working is None:
            self._working = asyncio.get_running_loop().create_task(self._work())
        made = await answer
        usage = Usage(input_tokens=made.input_tokens, output_tokens=made.output_tokens)
        return Reply(text=made.text, finish="stop" if made.finished else "length", usage=usage, model=self._name)

    async def close(self) -> None:
        """End the thread."""
        if self._working is not None:
            self._working.cancel()
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            await asyncio.sleep(0)  # those who ask in the same turn go into the same batch
            while self._waiting:
                batch, self._waiting = self._waiting[: self._batch_size], self._waiting[self._batch_size :]
                requests, images, answers = zip(*batch, strict=True)
                try:
                    made = await loop.run_in_executor(self._thread, self._generate, requests, images)
                except Exception as error:  # noqa: BLE001 - it belongs to those who wait for this batch
                    for answer in answers:
                        if not answer.done():
                            answer.set_exception(_for_one(error))
                else:
                    for answer, one in zip(answers, made, strict=True):
                        if not answer.done():
                            answer.set_result(one)
        finally:
            self._working = None

    def _generate(self, requests: Sequence[Request], images: Sequence[Sequence[bytes]]) -> list[Generated]:
        if self._engine is None:
            self._engine = self._load()
        assert self._engine is not None
        return self._engine.generate(requests, images)

    async def _bytes_of(self, part: ImagePart) -> bytes:
        if part.url is not None:
            raise CallFailed("rejected", "a local model takes images as bytes or files, not as URLs", attempts=0)
        encoded = await self._images.encode(part, await self._images.identify(part))
        return base64.b64decode(encoded.base64)


def _for_one(error: Exception) -> Exception:
    if isinstance(error, (UsageError, RunFailed, CallFailed)):
        return error
    return CallFailed("server", f"generate failed: {type(error).__name__}: {str(error)[:300]}")


class TransformersEngine:
    """A checkpoint with its processor or tokenizer."""

    def __init__(self, name: str, options: Options) -> None:
        try:
            torch: Any = importlib.import_module("torch")
            transformers: Any = importlib.import_module("transformers")
        except ImportError as error:
            raise UsageError(f"provider huggingface needs transformers: pip install 'millrace[huggingface]' ({error})") from error
        self._torch = torch
        self.device = device_of(options.device, torch)
        known: dict[str, str | bool | None] = {"revision": options.revision, "trust_remote_code": options.trust_remote_code}
        if options.gguf_file is not None:
            known["gguf_file"] = options.gguf_file
        dtype = options.dtype if options.dtype == "auto" else getattr(torch, options.dtype)
        try:
            config = transformers.AutoConfig.from_pretrained(name, **known)
            sees = hasattr(config, "vision_config")
            kind = transformers.AutoModelForImageTextToText if sees else transformers.AutoModelForCausalLM
            self.processor = (transformers.AutoProcessor if sees else transformers.AutoTokenizer).from_pretrained(name, **known)
            self.model = kind.from_pretrained(name, dtype=dtype, **known).to(self.device).eval()
        except (OSError, ValueError) as error:
            raise RunFailed(f"the model '{name}' cannot be loaded: {' '.join(str(error).split())[:400]}") from error
        self.tokenizer = getattr(self.processor, "tokenizer", self.processor)
        self.tokenizer.padding_side = "left"
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token

    def generate(self, requests: Sequence[Request], images: Sequence[Sequence[bytes]]) -> list[Generated]:
        """Requests with the same sampling parameters share a `generate`."""
        made: dict[int, Generated] = {}
        groups: dict[bytes, list[int]] = {}
        for index, request in enumerate(requests):
            same = (request.temperature, request.top_p, request.max_tokens, request.seed, bool(images[index]))
            groups.setdefault(msgspec.msgpack.encode(same), []).append(index)
        for group in groups.values():
            answers = self._generate_alike([requests[index] for index in group], [images[index] for index in group])
            made.update(zip(group, answers, strict=True))
        return [made[index] for index in range(len(requests))]

    def _generate_alike(self, requests: Sequence[Request], images: Sequence[Sequence[bytes]]) -> list[Generated]:
        torch = self._torch
        first = requests[0]
        longest = first.max_tokens or 512
        inputs = self.inputs_of(requests, images).to(self.device)
        sampling: dict[str, bool | float] = {"do_sample": bool(first.temperature)}
        if first.temperature:
            sampling |= {"temperature": first.temperature, "top_p": first.top_p if first.top_p is not None else 1.0}
            torch.manual_seed(first.seed or 0)
        with torch.inference_mode():
            out = self.model.generate(**inputs, max_new_tokens=longest, pad_token_id=self.tokenizer.pad_token_id, **sampling)
        prompt_length = inputs["input_ids"].shape[1]
        return [
            self._answer(row[prompt_length:], int(mask.sum()), longest, request)
            for row, mask, request in zip(out, inputs["attention_mask"], requests, strict=True)
        ]

    @property
    def end_of_turn(self) -> str:
        """What stands behind an answer in this model's chat template, up to the token that ends it."""
        answer = "ANSWER"
        chat: list[Any] = [
            _Turn(role=role, content=[{"type": "text", "text": text}]) for role, text in (("user", "x"), ("assistant", answer))
        ]
        said = self._in_template(chat, add_generation_prompt=False)
        end = said.rpartition(answer)[2].rstrip() if answer in said else ""
        ids = self.tokenizer(end, add_special_tokens=False)["input_ids"] if end else []
        return end if self._ends() & set(ids) else end + self.tokenizer.eos_token

    def inputs_of(self, requests: Sequence[Request], images: Sequence[Sequence[bytes]]) -> Any:
        """The requests as the model takes them, padded on the left: `input_ids` and `attention_mask` (B, T), and the pictures."""
        chats = [[_chat_message(message) for message in request.messages] for request in requests]
        texts = [self._in_template(chat, add_generation_prompt=True) for chat in chats]
        if any(images):
            from PIL import Image

            opened = [[Image.open(io.BytesIO(data)).convert("RGB") for data in one] for one in images]
            return self.processor(text=texts, images=opened, return_tensors="pt", padding=True)
        return self.tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)

    def _in_template(self, chat: Sequence[_Turn], *, add_generation_prompt: bool) -> str:
        sees = hasattr(self.processor, "image_processor")
        turns: list[Any] = [turn if sees else {"role": turn["role"], "content": _only_text(turn["content"])} for turn in chat]
        template = self.processor if sees else self.tokenizer
        return str(template.apply_chat_template(turns, tokenize=False, add_generation_prompt=add_generation_prompt))

    def _ends(self) -> set[int]:
        """Ids of the tokens that end an answer."""
        ends = self.model.generation_config.eos_token_id
        return set(ends) if isinstance(ends, list) else {ends}

    def _answer(self, tokens: Any, prompt_tokens: int, longest: int, request: Request) -> Generated:
        ends = self._ends()
        count = next((index for index, token in enumerate(tokens.tolist()) if token in ends), None)
        finished = count is not None
        used = len(tokens) if count is None else count
        text = self.tokenizer.decode(tokens[:used], skip_special_tokens=True)
        for stop in request.stop:
            if stop in text:
                text, finished = text.partition(stop)[0], True
        return Generated(text, prompt_tokens, used, finished or used < longest)


def device_of(name: str, torch: Any) -> str:
    """`cuda:N` or `cpu`: what `options.device` means in this process."""
    if name != "auto":
        return name
    import os

    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if torch.cuda.is_available() else "cpu"


class _Turn(TypedDict):
    """A turn as the templates of processors take it."""

    role: str
    content: list[dict[str, str]]


def _chat_message(message: Message) -> _Turn:
    content = [{"type": "image"} if isinstance(part, ImagePart) else {"type": "text", "text": part} for part in message.parts]
    return {"role": "user" if message.role == "tool" else message.role, "content": content}


def _only_text(content: list[dict[str, str]]) -> str:
    return "".join(part.get("text", "") for part in content)
