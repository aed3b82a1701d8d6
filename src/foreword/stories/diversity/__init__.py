"""How different stories are from each other: measures with their sources and defects, at equal number and length."""

from foreword.stories.diversity.compare import Comparison as Comparison
from foreword.stories.diversity.compare import compare as compare
from foreword.stories.diversity.corpus import Sample as Sample
from foreword.stories.diversity.corpus import sample as sample
from foreword.stories.diversity.measures import MEASURES as MEASURES
from foreword.stories.diversity.reading import by_approach as by_approach
from foreword.stories.diversity.reading import read as read
