"""What the adapters of one kind share: WSGI, ASGI, WebSockets, and answers that stream."""
