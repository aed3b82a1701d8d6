"""PEFT's checkpoints: read as injections, and written from them.

`read_peft` and `write_peft` work on injections; `import_peft` and `export_peft` on artifacts.
"""

from foreword.artifacts.peft.exporting import Exported as Exported
from foreword.artifacts.peft.exporting import export_peft as export_peft
from foreword.artifacts.peft.importing import Imported as Imported
from foreword.artifacts.peft.importing import Reading as Reading
from foreword.artifacts.peft.importing import import_peft as import_peft
from foreword.artifacts.peft.reading import PeftAdapter as PeftAdapter
from foreword.artifacts.peft.reading import read_peft as read_peft
from foreword.artifacts.peft.writing import write_peft as write_peft
