"""What a form sent, as text fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import parse_qs, urlencode

from starlette.requests import Request

from foreword.serving.problems import Refusal

FIELDS = 256
"""How many fields a form has at the most."""
Values = Mapping[str, Sequence[str]]


class Form:
    """Fields by name; one that was not sent is empty."""

    def __init__(self, values: Values) -> None:
        self._values = values

    @classmethod
    async def of(cls, request: Request) -> Form:
        """The body of a post, and the query of its address. **Raises** `Refusal` for one that no form sends."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip()
        text = await request.body() if request.method == "POST" else b""
        if text and kind != "application/x-www-form-urlencoded":
            raise Refusal("a page takes forms alone", 415)
        try:
            body = parse_qs(text.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=FIELDS)
            query = parse_qs(request.url.query, keep_blank_values=True, errors="strict", max_num_fields=FIELDS)
        except ValueError:
            raise Refusal("the form is broken: it is not UTF-8, or has too many fields") from None
        return cls({**query, **body})

    def text(self, name: str, default: str = "") -> str:
        """A field as it was typed, with plain line ends."""
        values = self._values.get(name, ())
        return values[-1].replace("\r\n", "\n") if values else default

    def all(self, name: str) -> tuple[str, ...]:
        """The values of a field that may be there several times, each once."""
        return tuple(dict.fromkeys(self._values.get(name, ())))

    def on(self, name: str) -> bool:
        """Whether a box is ticked."""
        return bool(self.text(name))

    def whole(self, name: str, default: int, least: int, most: int) -> int:
        """A whole number; `default` where the field is empty. **Raises** `Refusal`."""
        return int(self._number(name, default, least, most, int))

    def number(self, name: str, default: float, least: float, most: float) -> float:
        """A number; `default` where the field is empty. **Raises** `Refusal`."""
        return self._number(name, default, least, most, float)

    def _number(self, name: str, default: float, least: float, most: float, kind: type[int] | type[float]) -> float:
        text = self.text(name).strip()
        if not text:
            return default
        try:
            value = kind(text)
        except ValueError:
            value = kind(least) - 1
        if not least <= value <= most:  # NaN is in no range
            called = "a whole number" if kind is int else "a number"
            label = name.replace("_", " ")
            raise Refusal(f"{label}: give {called} from {least:g} to {most:g}", param=name)
        return value


def query(**values: str | int | Sequence[str]) -> str:
    """A query string of what is not empty."""
    return urlencode({name: value for name, value in values.items() if value}, doseq=True)
