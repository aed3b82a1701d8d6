from __future__ import annotations

import json

from foreword.stories.runlog import LOG, RunLog


def test_half_a_character_is_replaced_in_all_that_is_kept(tmp_path):
    log = RunLog(tmp_path)
    log.write("story", {"text": "The fox \ud800 ran"})
    log.keep("stories.json", {"text": "The fox \ud800 ran"})
    for name in (LOG, "stories.json"):
        assert json.loads((tmp_path / name).read_text(encoding="utf-8"))["text"] == "The fox \ufffd ran"
