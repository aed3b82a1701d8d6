"""Speed against peers, side by side in one run. Start at `run.py`; the cases are in `cases.py`."""
