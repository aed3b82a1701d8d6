"""Where examples come from: files, folders, named sets and the hub, as one checked, fingerprinted `Dataset`."""

from foreword.data.dataset import Dataset
from foreword.data.description import describe
from foreword.data.loading import load

__all__ = ["Dataset", "describe", "load"]
