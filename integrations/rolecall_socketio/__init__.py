"""Rolecall for python-socketio: guards for the handlers of events, and clients that go when their grant ends."""

from .gate import Call, Gate

__all__ = ["Call", "Gate"]
