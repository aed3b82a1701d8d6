"""Text from a causal backbone or an encoder-decoder, every row under its own foreword or none.

`generate` is the whole of it; `session` is one batch under way, upon which other schedules (serving) can be built.
"""

from foreword.config import GenerationOptions as GenerationOptions
from foreword.generation.generate import generate as generate
from foreword.generation.stopping import Generated as Generated
