"""Dictionaries on their own: learned without labels, or class by class."""

from ._class_dictionary import class_dictionary
from ._online_dictionary import OnlineDictionaryLearning

__all__ = ["OnlineDictionaryLearning", "class_dictionary"]
