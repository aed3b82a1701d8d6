"""Stories for children: constraints that are verified, approaches that are compared.

`write` makes stories for a spec, `check` verifies any text. Neither needs torch until a model of this machine writes.
"""

from foreword.stories.checking import check as check
from foreword.stories.spec import StorySpec as StorySpec
from foreword.stories.story import Edit as Edit
from foreword.stories.story import Span as Span
from foreword.stories.story import Story as Story
from foreword.stories.story import Verdict as Verdict
from foreword.stories.writing import Watch as Watch
from foreword.stories.writing import Written as Written
from foreword.stories.writing import write as write
