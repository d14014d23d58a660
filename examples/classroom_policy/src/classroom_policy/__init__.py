"""A policy for Rolecall: only the teacher of a class may moderate it, while it runs; its pupils may publish."""

from .policy import ClassroomPolicy

__all__ = ["ClassroomPolicy"]
