"""What a story has to be, one file a constraint: each writes its clause of the prompt, and checks the text.

The file `constraints/word_range.py` is the constraint `word-range`. Adding one is adding a file.
"""

from foreword.registry import Registry
from foreword.stories.constraints.base import Constraint as Constraint
from foreword.stories.constraints.base import Finding as Finding

constraints: Registry[Constraint] = Registry("foreword.stories.constraints", "constraint")
