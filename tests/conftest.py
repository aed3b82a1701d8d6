"""What all tests share: one thread, so that sums come out in one order, and no network."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from support.folders import bert_folder as bert_folder  # noqa: E402
from support.folders import data_file as data_file  # noqa: E402
from support.folders import gpt2_folder as gpt2_folder  # noqa: E402
