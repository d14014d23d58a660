"""Common parts of adapters: for WSGI, for ASGI, for WebSockets, and for streamed answers."""
