"""The template's syntax: what it parses to, what it prints, and what it refuses."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreword.errors import DataError, TemplateError
from foreword.text.template import Field, Mask, Sep, Soft, Template, Text
from support.tokenizers import bert_tokenizer

NAMES = st.from_regex(r"[a-z_][a-z0-9_.-]{0,5}", fullmatch=True).filter(
    lambda name: name not in ("mask", "sep", "soft")
)
PARTS = st.one_of(
    st.builds(Text, st.text(min_size=1, max_size=8)),
    st.builds(Text, st.text(alphabet='{}"\\:a', min_size=1, max_size=8)),
    st.builds(Field, NAMES),
    st.just(Sep()),
    st.builds(Soft, st.integers(1, 30)),
    st.builds(Soft, st.just(0), st.text(alphabet='a {}"\\:é\n', min_size=1, max_size=8)),
)


def joined(parts: list) -> tuple:
    """Neighbouring texts as one, which is how they are read."""
    result: list = []
    for part in parts:
        if isinstance(part, Text) and result and isinstance(result[-1], Text):
            result[-1] = Text(result[-1].text + part.text)
        else:
            result.append(part)
    return tuple(result)


def test_every_kind_of_part_is_read():
    template = Template.parse('{soft:5}{{"{a}" {sep} {soft} it{soft:"was \\"}"} {mask}.}}')
    assert template.parts == (
        Soft(5),
        Text('{"'),
        Field("a"),
        Text('" '),
        Sep(),
        Text(" "),
        Soft(1),
        Text(" it"),
        Soft(0, 'was "}'),
        Text(" "),
        Mask(),
        Text(".}"),
    )
    assert template.fields == ("a",)
    assert template.has_mask and template.has_soft and not template.is_resolved


@settings(max_examples=100, deadline=None)
@given(st.lists(PARTS, max_size=8), st.integers(0, 8), st.booleans())
def test_what_is_printed_is_read_again(parts, place, with_mask):
    if with_mask:
        parts.insert(min(place, len(parts)), Mask())
    template = Template(joined(parts))
    assert Template.parse(str(template)) == template


@pytest.mark.parametrize(
    ("text", "what", "place"),
    [
        ("ab {text", "never closed", 4),
        ("ab } c", "without an opening", 4),
        ("{soft:0} {a}", "at least one", 1),
        ("x {soft:x} {a}", "is not a field or a slot", 3),
        ("{a} {}", "is not a field or a slot", 5),
        ("{1a}", "is not a field or a slot", 1),
        ("{a:3}", "only a soft slot", 1),
        ('{soft:""}{a}', "is empty", 1),
        ("{mask} {{{mask}}} {a}", "at most one {mask}", 10),
    ],
)
def test_bad_syntax_is_refused_with_its_place(text, what, place):
    with pytest.raises(TemplateError) as error:
        Template.parse(text)
    assert what in str(error.value)
    assert f"character {place}:" in str(error.value)


def test_soft_slots_are_counted_once_a_tokenizer_has_split_their_text():
    tokenizer = bert_tokenizer()
    template = Template.parse('{soft:2}{a}{soft:"the film was"}{soft}')
    with pytest.raises(TemplateError, match="not known"):
        _ = template.soft_count
    resolved = template.resolve(tokenizer)
    assert resolved.soft_count == 6
    words = tokenizer("the film was", add_special_tokens=False)["input_ids"]
    assert resolved.initial_ids(tokenizer) == (None, None, *words, None)
    assert Template.parse(str(resolved)).resolve(tokenizer) == resolved
    with pytest.raises(TemplateError, match="makes no token"):
        Template.parse('{soft:" "}{a}').resolve(tokenizer)


def test_in_front_adds_virtual_tokens_at_the_very_front():
    assert Template.parse("{soft:2}{a}").in_front(3).parts == (Soft(3), Soft(2), Field("a"))
    with pytest.raises(TemplateError, match="at least one"):
        Template.parse("{a}").in_front(0)


def test_check_names_unknown_fields_and_asks_for_one():
    Template.parse("{a} {b}").check(["a", "b", "c"])
    with pytest.raises(TemplateError, match="did you mean 'sentence'"):
        Template.parse("{sentense}").check(["sentence", "label"])
    with pytest.raises(TemplateError, match="uses no field"):
        Template.parse("It was {mask}.").check(["sentence"])


def test_render_shows_the_text_the_answer_and_the_slots():
    template = Template.parse('{soft:5}{a}{sep}{{{b}}} It was {mask}.{soft:"x y"}')
    example = {"a": "Good {film}", "b": "Bad"}
    assert template.render(example) == "[soft×5]Good {film} {Bad} It was [mask].[soft 'x y']"
    assert template.render(example, "great", sep="\n", show_soft=False) == "Good {film}\n{Bad} It was great."


@pytest.mark.parametrize("example", [{"b": "x"}, {"a": None}, {"a": 3}])
def test_a_missing_field_and_one_that_is_no_text_are_named(example):
    with pytest.raises(DataError, match="field 'a'"):
        Template.parse("{a}").render(example)
