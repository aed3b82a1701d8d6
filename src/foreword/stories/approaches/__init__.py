"""How a story is asked for: named steps, one file each, that can be put together ("varied+emotional-cue")."""

from foreword.registry import Registry
from foreword.stories.approaches.base import Approach as Approach
from foreword.stories.approaches.base import Brief as Brief
from foreword.stories.approaches.base import Step as Step
from foreword.stories.approaches.base import Turn as Turn

steps: Registry[Step] = Registry("foreword.stories.approaches", "approach")
