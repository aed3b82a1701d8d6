"""The one loop, its batches, its plan, and its checkpoints."""
