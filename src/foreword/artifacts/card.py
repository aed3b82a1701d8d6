"""The artifact's README: what it is and what it scored, for a reader who has nothing else."""

from __future__ import annotations

from jinja2 import Environment

from foreword import registry
from foreword.artifacts.manifest import Manifest

CARD = Environment(trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True).from_string("""\
# {{ m.name }}

A foreword: what the frozen model **{{ m.backbone.name }}** learned about one task.

| | |
|---|---|
| task | {{ m.task }}{{ ": " if m.labels }}{{ m.labels | join(", ") }} |
| method | {{ m.method.name }} |
| readout | {{ m.readout.name }} |
| template | `{{ m.template.text }}` |
| trained parameters | {{ "{:,}".format(m.parameters.trained) }} of {{ "{:,}".format(m.parameters.backbone) }} |
| stored numbers | {{ "{:,}".format(m.parameters.stored) }} |
| data | {{ m.run.data.source }} |
| seed | {{ m.run.seed }} |
| made | {{ m.created }} with foreword {{ m.versions.foreword }}, torch {{ m.versions.torch }}, transformers \
{{ m.versions.transformers }} |

{% for split, values in m.metrics.items() %}
{{ split }}: {% for name, value in values.items() %}{{ name }} {{ "%.4f" | format(value) }}{{ ", " if not loop.last }}\
{% endfor %}


{% endfor %}
Use it:

```python
import foreword

model = foreword.load("path/to/this/folder")
print(model.{{ use }})
```

It works on the backbone with the fingerprint `{{ m.backbone.fingerprint[:16] }}…` alone. The whole run is in
`foreword.json`, under `run`.
""")


USES = {
    "class": 'predict(["..."])',
    "text": 'write(["..."])',
    "tags": 'tag([["a", "list", "of", "words"]])',
    "span": 'find([("the text", "the question")])',
}


def card(manifest: Manifest) -> str:
    """The card as Markdown."""
    return CARD.render(m=manifest, use=USES[registry.tasks.get(manifest.task).answer])
