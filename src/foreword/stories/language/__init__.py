"""Words, sentences, base forms and reading grades, by rules that are stated where they stand."""

from foreword.stories.language.lemmas import bases as bases
from foreword.stories.language.lemmas import fold as fold
from foreword.stories.language.lemmas import same_word as same_word
from foreword.stories.language.prose import Prose as Prose
from foreword.stories.language.prose import Word as Word
