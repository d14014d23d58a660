"""The demonstration that ``rolecall demo`` serves: an ordinary Flask app that uses Rolecall's public API."""

from .app import create_app
from .server import serve

__all__ = ["create_app", "serve"]
