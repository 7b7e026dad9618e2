"""Extractors: what turns a task into rows of features."""

from scaledproc.extractors.base import Extractor, FunctionExtractor, Task, extractor
from scaledproc.extractors.options import Option
from scaledproc.extractors.registry import load_extractor

__all__ = ["Extractor", "FunctionExtractor", "Option", "Task", "extractor", "load_extractor"]
