"""The peers that the benchmarks measure against."""

from __future__ import annotations

import flask

SECRET = "2df95e9fdac14502e8a27a9d8a71e87ef64a502e"
DATA = "name=Ada Lovelace;id=4711;group=teachers"


def flask_jwt_extended_app() -> tuple[flask.Flask, str]:
    """An app of flask-jwt-extended's, and a token for it.

    :raises ImportError: if that is not installed.
    """
    from flask_jwt_extended import JWTManager, create_access_token

    app = flask.Flask("peer")
    app.config["JWT_SECRET_KEY"] = SECRET
    JWTManager(app)
    with app.app_context():
        return app, create_access_token("ada", additional_claims={"role": "moderator", "data": DATA})
