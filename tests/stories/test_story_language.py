"""Words, sentences, base forms, phrases and reading grades."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreword.errors import ConfigError
from foreword.stories.language import Prose, bases, fold, reading, same_word
from foreword.stories.language.phrases import Phrase

SYLLABLES = """cat 1 apple 2 giggled 2 idea 3 elephant 3 dinosaur 3 again 2 people 2 jumped 1 wanted 2 horses 2 cakes 1
boxes 2 butterfly 3 squirrel 2 treasure 2 beautiful 3 flying 2 created 3 adventure 3 once 1 hidden 2 whole 1 smiled 1
whispered 2 the 1 radio 3 curious 3 delicious 3 imagination 5 fairies 2 safely 2 careful 2 everyone 3 castles 2 tired 1
decided 3 doesn't 2 don't 1 couldn't 2 friend 1 feed 1 caterpillar 4 purple 2 leaves 1 heroes 2""".split()


@pytest.mark.parametrize(
    ("form", "other"),
    [
        ("flying", "flew"), ("butterflies", "butterfly"), ("hidden", "hides"), ("talked", "talking"), ("mice", "mouse"),
        ("children's", "child"), ("running", "run"), ("hoping", "hope"), ("dancing", "danced"), ("bigger", "big"),
        ("happiest", "happy"), ("wolves", "wolf"), ("went", "goes"), ("Dragon", "DRAGONS"), ("boxes", "box"),
        ("cookies", "cookie"), ("sang", "sing"), ("agreed", "agree"), ("dragon’s", "dragon's"), ("café", "CAFE\u0301"),
        ("snowmen", "snowman"), ("grandchildren", "grandchild"), ("quizzes", "quiz"), ("drag\u00adon", "dragons"),
    ],
)  # fmt: skip
def test_forms_of_one_word_are_the_same_word(form, other):
    assert same_word(form, other)
    assert same_word(other, form)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("hoping", "hop"), ("king", "k"), ("seed", "see"), ("lover", "love"), ("loser", "lost"), ("flower", "flow"),
        ("morning", "morn"), ("friendly", "friend"), ("dress", "dres"), ("wing", "w"), ("forest", "fore"),
    ],
)  # fmt: skip
def test_words_that_only_look_alike_are_two(one, other):
    assert not same_word(one, other)


@given(st.text(max_size=12))
def test_a_word_is_a_form_of_itself(word):
    assert same_word(word, word)
    assert fold(fold(word)) == fold(word) or not word.isascii()


@given(st.from_regex(r"[a-z]{1,10}", fullmatch=True))
def test_bases_hold_the_word_and_are_never_empty(word):
    assert word in bases(word)
    assert all(bases(word))


def test_sentences_end_where_they_end():
    text = '"Hello!" said Mr. Fox. She ran... and ran. “Come!” He came\n\nNo stop here\n\n"Why?" Mia asked.'
    assert [span.text for span in Prose(text).sentences] == [
        '"Hello!" said Mr. Fox.',
        "She ran... and ran.",
        "“Come!”",
        "He came",
        "No stop here",
        '"Why?"',
        "Mia asked.",
    ]
    text = "A. B. Fox and J. Owl sang. It was I. Then"
    assert [span.text for span in Prose(text).sentences] == ["A. B. Fox and J. Owl sang.", "It was I.", "Then"]


@given(st.text(max_size=200))
def test_every_word_stands_where_it_says_and_no_word_is_lost(text):
    prose = Prose(text)
    assert all(text[word.start : word.end] == word.text for word in prose.words)
    assert all(text[span.start : span.end] == span.text for span in (*prose.sentences, *prose.paragraphs))
    inside = [word for span in prose.sentences for word in prose.words_of(span)]
    assert inside == list(prose.words)


def test_quotations_are_found_in_every_kind_of_marks():
    text = "“One two,” he said. \"Three four!\" ‘Don’t go,’ she said. It's Ben's."
    assert [span.text for span in Prose(text).quoted] == ["“One two,”", '"Three four!"', "‘Don’t go,’"]


@pytest.mark.parametrize(
    ("clue", "content", "head"),
    [
        ("a talking squirrel", ("talking", "squirrel"), "squirrel"),
        ("a dog with a red ball", ("dog", "red", "ball"), "dog"),
        ("the girl who can fly", ("girl", "can", "fly"), "girl"),
        ("it", ("it",), "it"),
    ],
)
def test_a_clue_has_content_and_a_head(clue, content, head):
    phrase = Phrase.of(clue)
    assert (phrase.content, phrase.head) == (content, head)


def test_phrases_are_found_one_behind_the_other_or_together():
    prose = Prose("The butterfly flew, all rainbow. Bad dogs bark. A dog is bad.")
    assert [span.text for span in Phrase.of("a flying rainbow butterfly").together(prose)] == [
        "butterfly flew, all rainbow"
    ]
    assert [span.text for span in Phrase.of("bad dog").places(prose)] == ["Bad dogs"]
    assert Phrase.of("dogs", english=False).places(prose)
    assert not Phrase.of("barks", english=False).places(prose)


@pytest.mark.parametrize(("word", "count"), list(zip(SYLLABLES[::2], map(int, SYLLABLES[1::2]), strict=True)))
def test_syllables(word, count):
    assert reading.syllables(word) == count


def test_words_with_hyphens_and_marks_are_found_and_counted_as_one():
    text = Prose("The baby-dragon ate ice-cream in the cafe\u0301 with a teddy bear.")
    assert len(text.words) == 11
    assert all(Phrase.of(clue).together(text) for clue in ("a dragon", "ice cream", "the café", "a teddy-bear"))
    assert [span.text for span in Phrase.of("dragon").places(text)] == ["dragon"]
    assert [word.text for word in Prose("हिन्दी की किताब").words] == ["हिन्दी", "की", "किताब"]


def test_the_grade_is_the_published_formula():
    prose = Prose("The cat sat on the mat. The dog ran to the big red barn.")  # 14 words, 2 sentences, 14 syllables
    assert reading.grade(prose) == pytest.approx(0.39 * 7 + 11.8 - 15.59)
    assert reading.grade(Prose("")) == 0.0


def test_unknown_words_leave_out_names_and_numbers():
    prose = Prose("The boy saw Bartholomew. He gave Bartholomew's dog 12 idiosyncratic treats. Perambulate!")
    assert [word.text for word in reading.unknown(prose, reading.known_words())] == ["idiosyncratic", "Perambulate"]


def test_a_word_list_of_the_users_own(tmp_path):
    path = tmp_path / "words.csv"
    path.write_text("# word, age\nZebu,4.5\nyak,3\n", encoding="utf-8")
    assert reading.known_words(str(path)) == {"zebu", "yak"}
    with pytest.raises(ConfigError, match="cannot read the word list"):
        reading.known_words(str(tmp_path / "none.txt"))
    (tmp_path / "empty.txt").write_text("# nothing\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="empty"):
        reading.known_words(str(tmp_path / "empty.txt"))
