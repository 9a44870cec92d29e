"""Networks of the user with their data: from Python objects, and from files by name."""

from pruning_core.subjects.from_objects import workspace
from pruning_core.subjects.registry import VARIABLE, read_subjects, subject_files, subjects
from pruning_core.subjects.subject import Subject

__all__ = ["VARIABLE", "Subject", "read_subjects", "subject_files", "subjects", "workspace"]
