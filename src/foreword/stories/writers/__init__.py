"""Who writes: a model of this machine, or an endpoint that speaks the protocol of OpenAI's chat completions."""

from foreword.stories.writers.base import Draft as Draft
from foreword.stories.writers.base import Guide as Guide
from foreword.stories.writers.base import Request as Request
from foreword.stories.writers.base import Writer as Writer
