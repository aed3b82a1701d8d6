"""What requests say. Fields that OpenAI has and that mean nothing here are refused, unless they ask for nothing."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Text = Annotated[str, Field(max_length=2**20)]
Stop = Annotated[str, Field(max_length=256)]
NOTHING: dict[str, tuple[Any, ...]] = {
    "best_of": (1,),
    "echo": (False,),
    "frequency_penalty": (0,),
    "function_call": ("none",),
    "functions": ([],),
    "logit_bias": ({},),
    "presence_penalty": (0,),
    "response_format": ({"type": "text"},),
    "suffix": ("",),
    "tool_choice": ("none", "auto"),
    "tools": ([],),
}
"""Fields that are not served, and the values at which they ask for nothing."""
IGNORED = ("metadata", "parallel_tool_calls", "prompt_cache_key", "safety_identifier", "service_tier", "store", "user")
"""Fields that change no answer."""


class Request(BaseModel):
    """A request's body. Unknown fields are errors, since to ignore one may be to answer another question."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    model: Text

    @model_validator(mode="before")
    @classmethod
    def _asks_for_nothing_else(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        for name, plain in NOTHING.items():
            if values.get(name) is not None and values[name] not in plain:
                raise ValueError(f"{name} is not served")
        return {name: value for name, value in values.items() if name not in NOTHING and name not in IGNORED}


class StreamOptions(BaseModel):
    """What a stream tells beside the text."""

    model_config = ConfigDict(extra="forbid")

    include_usage: bool = False
    include_obfuscation: bool = False


class Writes(Request):
    """What chats and completions share; names and meanings are OpenAI's."""

    max_tokens: int | None = Field(None, ge=1, le=2**20)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=1, description="not OpenAI's: only the so many likeliest tokens are drawn")
    n: int = Field(1, ge=1, le=128)
    seed: int | None = Field(None, ge=0, lt=2**53)
    stop: Stop | list[Stop] | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    inputs: dict[str, Text] | None = Field(
        None, description="not OpenAI's: the fields of a foreword that takes several, in the place of the text"
    )

    @model_validator(mode="after")
    def _stops(self) -> Self:
        if any(not text for text in self.stops):
            raise ValueError("an empty stop string would end every answer at once")
        if len(self.stops) > 16:
            raise ValueError("at most 16 stop strings")
        return self

    @property
    def stops(self) -> tuple[str, ...]:
        """The strings that end an answer."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    @property
    def wanted(self) -> int | None:
        """How many tokens may be written, if that was said."""
        return self.max_tokens

    @property
    def likeliest(self) -> int | None:
        """How many of the likeliest tokens are told; None where no log-probabilities are."""
        return None


class TextPart(BaseModel):
    """A part of a message."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["text"]
    text: Text


class Message(BaseModel):
    """One message of a chat."""

    model_config = ConfigDict(extra="forbid")

    role: Literal["system", "developer", "user", "assistant"]
    content: Text | list[TextPart]
    name: Text | None = None

    @property
    def text(self) -> str:
        """What it says."""
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)


class ChatRequest(Writes):
    """`/v1/chat/completions`."""

    messages: list[Message] = Field(min_length=1, max_length=1024)
    max_completion_tokens: int | None = Field(None, ge=1, le=2**20)
    logprobs: bool = False
    top_logprobs: int | None = Field(None, ge=0, le=20)

    @property
    def wanted(self) -> int | None:
        """How many tokens may be written, if that was said."""
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens

    @property
    def likeliest(self) -> int | None:
        """How many of the likeliest tokens are told; None where no log-probabilities are."""
        return (self.top_logprobs or 0) if self.logprobs else None


class CompletionRequest(Writes):
    """`/v1/completions`."""

    prompt: Text | list[Text] | None = None
    logprobs: int | None = Field(None, ge=0, le=20)

    @property
    def likeliest(self) -> int | None:
        """How many of the likeliest tokens are told; None where no log-probabilities are."""
        return self.logprobs


class EmbeddingRequest(Request):
    """`/v1/embeddings`."""

    input: Text | list[Text] = Field(min_length=1)
    encoding_format: Literal["float", "base64"] = "float"


class ClassifyRequest(Request):
    """`/v1/classify`: one input, or a list of them.

    An input is a text; a list of the texts that the task has, or of words to tag; or a mapping of the task's fields.
    """

    input: Text | dict[str, Text | list[Text]] | list[Text | list[Text] | dict[str, Text | list[Text]]]

    @property
    def all(self) -> list[Any]:
        """The inputs."""
        return self.input if isinstance(self.input, list) else [self.input]


class LoadRequest(BaseModel):
    """`/v1/load_foreword`: a folder, by its path below the one that is served."""

    model_config = ConfigDict(extra="forbid")

    path: Annotated[str, Field(min_length=1, max_length=4096)]


class UnloadRequest(BaseModel):
    """`/v1/unload_foreword`."""

    model_config = ConfigDict(extra="forbid")

    model: Text
