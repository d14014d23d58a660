"""Which session a Flask route is about, and that a guard never lets in for any other, however the app names it."""

from __future__ import annotations

import asyncio
import functools
from typing import Any

import flask
import pytest
from flask.views import MethodView

from rolecall.errors import ConfigurationError
from rolecall_flask import current_grant, protect, require_capability, require_role, require_token, rolecall_blueprint

from ..ids import as_text
from ..untyped import untyped


@pytest.fixture
def app(kit):
    """An app that knows the kit; without the kit's routes, which take most of the time that it takes to make one."""
    app = flask.Flask(__name__, static_folder=None)
    app.register_blueprint(rolecall_blueprint(kit, routes=()))
    return app


@pytest.fixture
def mine(kit):
    return kit.create_session()


@pytest.fixture
def theirs(kit):
    return kit.create_session()


def ask(app, path, token=None, method="GET"):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return app.test_client().open(path, method=method, headers=headers)


def moderates(session):
    return session.generate_token("moderator")


# -- what nobody has said --------------------------------------------------------------------------

RULES = [
    *("/rooms/<sessionId>", "/rooms/<sessionid>", "/rooms/<session>", "/rooms/<SESSION_ID>", "/rooms/<sid>"),
    *("/rooms/<room_id>", "/rooms/<roomId>", "/rooms/<room>", "/rooms/<class_id>", "/rooms/<path:session_id_>"),
]


def guarded_view(app, guard, rule):
    app.add_url_rule(rule, "room", guard(lambda **_: "in"), methods=["GET", "POST"])


def guarded_class(app, guard, rule):
    @guard
    class Room(MethodView):
        def get(self, **_):
            return "in"

    app.add_url_rule(rule, view_func=Room.as_view("room"))


def guarded_method(app, guard, rule):
    class Room(MethodView):
        @guard
        def get(self, **_):
            return "in"

    app.add_url_rule(rule, view_func=Room.as_view("room"))


def guarded_blueprint(app, guard, rule):
    blueprint = guard(flask.Blueprint("rooms", __name__))
    blueprint.add_url_rule(rule, "room", lambda **_: "in")
    app.register_blueprint(blueprint)


def protected_blueprint(app, guard, rule):
    blueprint = protect(flask.Blueprint("rooms", __name__), guard)
    blueprint.add_url_rule(rule, "room", lambda **_: "in")
    app.register_blueprint(blueprint)


def protected_app(app, guard, rule):
    protect(app, guard)
    app.add_url_rule(rule, "room", lambda **_: "in")


def guarded_helper(app, guard, rule):
    may_enter = guard(lambda: True)
    app.add_url_rule(rule, "room", lambda **_: "in" if may_enter() else "out")


PLACES = [
    guarded_view,
    guarded_class,
    guarded_method,
    guarded_blueprint,
    protected_blueprint,
    protected_app,
    guarded_helper,
]
places = pytest.mark.parametrize("place", PLACES, ids=[place.__name__ for place in PLACES])


@pytest.mark.each_choice
@places
@pytest.mark.parametrize("rule", RULES)
def test_a_parameter_of_which_nothing_is_said_lets_nobody_in(app, mine, theirs, caplog, place, rule):
    place(app, require_role("moderator"), rule)
    for session in (mine, theirs):
        assert ask(app, f"/rooms/{session.session_id}", moderates(mine)).status_code == 500
    assert "is not told whether that names the session" in caplog.text


@places
@pytest.mark.parametrize(
    ("rule", "name"), [("/rooms/<sessionId>", "sessionId"), ("/rooms/<room_id>", "room_id"), ("/<a>/<room>", "room")]
)
def test_a_parameter_that_is_said_to_name_the_session_binds_it(app, mine, theirs, place, rule, name):
    place(app, require_role("moderator", session_param=name), rule)
    answers = [ask(app, f"/rooms/{session.session_id}", moderates(mine)) for session in (mine, theirs)]
    assert [answer.status_code for answer in answers] == [200, 403]
    assert answers[1].json["code"] == "wrong_session"


@places
@pytest.mark.parametrize("rule", ["/rooms/<room_id>", "/rooms/<session_id>"])
def test_where_it_is_said_a_token_of_any_session_is_enough(app, mine, theirs, place, rule):
    place(app, require_role("moderator", session_param=None), rule)
    assert [ask(app, f"/rooms/{one.session_id}", moderates(mine)).status_code for one in (mine, theirs)] == [200, 200]


def test_the_session_s_own_name_binds_beside_other_parameters(app, mine, theirs):
    guarded_view(app, require_token, "/<tenant>/rooms/<session_id>")
    paths = [f"/x/rooms/{session.session_id}" for session in (mine, theirs)]
    assert [ask(app, path, moderates(mine)).status_code for path in paths] == [200, 403]


@pytest.mark.parametrize("wrong", ["", "two words", "<room>", "1", b"room", 1, True, ["room"]])
def test_a_session_param_that_is_no_name_is_refused_where_the_guard_is_made(wrong):
    for guard in (functools.partial(require_role, "moderator"), functools.partial(require_capability, "signal")):
        with pytest.raises(ConfigurationError, match=r"session_param is .*expected the name of a path parameter"):
            guard(session_param=wrong)
    with pytest.raises(ConfigurationError):
        require_token(session_param=wrong)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("room", "expected a function from the request"),
        (1, "expected a function from the request"),
        (lambda: "x", "does not take one argument"),
        (lambda request, room: "x", "does not take one argument"),
    ],
)
def test_what_cannot_find_a_session_is_refused_where_the_guard_is_made(wrong, message):
    with pytest.raises(ConfigurationError, match=message):
        require_token(session=wrong)


def test_a_parameter_and_a_function_are_one_too_many():
    with pytest.raises(ConfigurationError, match="not both"):
        require_token(session_param="room", session=lambda request: "x")


# -- guards within guards --------------------------------------------------------------------------


@pytest.mark.parametrize("order", [1, -1])
def test_one_guard_that_binds_the_session_is_enough_for_the_route(app, mine, theirs, order):
    view = lambda **_: "in"  # noqa: E731
    for guard in [require_role("moderator"), require_token(session_param="room_id")][::order]:
        view = guard(view)
    app.add_url_rule("/rooms/<room_id>", "room", view)
    answers = [ask(app, f"/rooms/{session.session_id}", moderates(mine)).status_code for session in (mine, theirs)]
    assert answers == [200, 403]


def test_the_guard_of_a_blueprint_binds_for_the_guards_within(app, mine, theirs):
    blueprint = protect(
        flask.Blueprint("rooms", __name__, url_prefix="/rooms/<room_id>"), require_token(session_param="room_id")
    )
    blueprint.add_url_rule("/mute", "mute", require_role("moderator")(lambda room_id: "muted"))
    app.register_blueprint(blueprint)
    paths = [f"/rooms/{session.session_id}/mute" for session in (mine, theirs)]
    assert [ask(app, path, moderates(mine)).status_code for path in paths] == [200, 403]


def test_the_guard_of_a_method_binds_for_that_of_the_class(app, mine, theirs):
    @require_token
    class Room(MethodView):
        @require_role("moderator", session_param="room_id")
        def get(self, room_id):
            return "in"

    app.add_url_rule("/rooms/<room_id>", view_func=Room.as_view("room"))
    answers = [ask(app, f"/rooms/{session.session_id}", moderates(mine)).status_code for session in (mine, theirs)]
    assert answers == [200, 403]


def test_a_guarded_helper_follows_the_guard_of_its_view(app, mine, theirs):
    may_mute = require_role("moderator")(lambda: True)
    app.add_url_rule(
        "/rooms/<room_id>", "room", require_token(session_param="room_id")(lambda room_id: str(may_mute()))
    )
    answers = [ask(app, f"/rooms/{session.session_id}", moderates(mine)).status_code for session in (mine, theirs)]
    assert answers == [200, 403]
    assert ask(app, f"/rooms/{mine.session_id}", mine.generate_token()).status_code == 403


# -- preprocessors ---------------------------------------------------------------------------------


def test_a_parameter_that_a_preprocessor_gives_another_name_is_bound(app, mine, theirs):
    @app.url_value_preprocessor
    def rename(endpoint, values):
        if values and "session_id" in values:
            values["room"] = values.pop("session_id")

    app.add_url_rule("/rooms/<session_id>", "room", require_token(lambda room: "in"))
    answers = [ask(app, f"/rooms/{session.session_id}", moderates(mine)).status_code for session in (mine, theirs)]
    assert answers == [200, 403]


def test_what_a_preprocessor_makes_of_the_session_is_what_is_bound(app, mine, theirs):
    """The view acts on what it is given."""
    rooms = {"1": mine.session_id, "2": theirs.session_id}

    @app.url_value_preprocessor
    def look_up(endpoint, values):
        if values and "session_id" in values:
            values["session_id"] = rooms[values["session_id"]]

    app.add_url_rule("/rooms/<session_id>", "room", require_token(lambda session_id: session_id))
    assert [ask(app, f"/rooms/{number}", moderates(mine)).status_code for number in rooms] == [200, 403]


# -- a function that finds the session -------------------------------------------------------------


@pytest.fixture
def rooms(mine, theirs):
    """Rooms of the app's own, by their numbers."""
    return {"1": mine.session_id, "2": theirs.session_id, "3": None}


def a_function(rooms):
    return lambda request: rooms[request.view_args["room_id"]]


def a_coroutine_function(rooms):
    async def find(request):
        await asyncio.sleep(0)
        return rooms[request.view_args["room_id"]]

    return find


def a_lambda_that_returns_a_coroutine(rooms):
    find = a_coroutine_function(rooms)
    return lambda request: find(request)


def an_object(rooms):
    class Finder:
        def __call__(self, request):
            return rooms[request.view_args["room_id"]]

    return Finder()


def an_object_with_a_coroutine(rooms):
    class Finder:
        async def __call__(self, request):
            return rooms[request.view_args["room_id"]]

    return Finder()


def what_looks_at_flask_s_own_request(rooms):
    return lambda _: rooms[untyped(flask.request.view_args)["room_id"]]


FINDERS = [
    a_function,
    a_coroutine_function,
    a_lambda_that_returns_a_coroutine,
    an_object,
    an_object_with_a_coroutine,
    what_looks_at_flask_s_own_request,
]
finders = pytest.mark.parametrize("finder", FINDERS, ids=[finder.__name__ for finder in FINDERS])


@pytest.mark.each_choice
@places
@finders
def test_a_function_binds_the_session_that_it_finds(app, mine, rooms, place, finder):
    place(app, require_role("moderator", session=finder(rooms)), "/rooms/<room_id>")
    answers = [ask(app, f"/rooms/{number}", moderates(mine)) for number in rooms]
    assert [answer.status_code for answer in answers] == [200, 403, 403]
    assert {answer.json["code"] for answer in answers[1:]} == {"wrong_session"}


@finders
def test_a_function_is_not_asked_before_the_token_is_good(app, mine, finder):
    asked = []

    class Rooms(dict):
        def __missing__(self, number):
            asked.append(number)

    guarded_view(app, require_role("moderator", session=finder(Rooms())), "/rooms/<room_id>")
    for token in (None, "abc", mine.generate_token("publisher")):
        assert ask(app, "/rooms/1", token).status_code in (401, 403)
    assert ask(app, "/rooms/1", moderates(mine), "OPTIONS").status_code == 200
    assert asked == []
    ask(app, "/rooms/1", moderates(mine))
    assert asked == ["1"]


@pytest.mark.parametrize("is_async", [False, True])
def test_a_function_may_say_that_there_is_no_such_room(app, mine, is_async):
    def find(request):
        flask.abort(404)

    async def find_async(request):
        flask.abort(404)

    guarded_view(app, require_token(session=find_async if is_async else find), "/rooms/<room_id>")
    assert ask(app, "/rooms/1", moderates(mine)).status_code == 404
    assert ask(app, "/rooms/1").status_code == 401


def test_a_function_that_fails_lets_nobody_in(app, mine):
    ran = []
    guard = require_token(session=lambda request: str(1 // 0))
    app.add_url_rule("/rooms/<room_id>", "room", guard(lambda room_id: ran.append(1) or "in"))
    assert (ask(app, "/rooms/1", moderates(mine)).status_code, ran) == (500, [])


@pytest.mark.parametrize("found", [True, 1, b"x", "", ["x"], object()], ids=as_text)
def test_what_is_no_session_id_lets_nobody_in(app, mine, found):
    guarded_view(app, require_token(session=lambda request: found), "/rooms/<room_id>")
    assert ask(app, "/rooms/1", moderates(mine)).status_code in (403, 500, 503)


def test_a_function_finds_the_session_in_the_query(app, mine, theirs):
    guarded_view(app, require_token(session=lambda request: request.args.get("room")), "/chat")
    paths = [f"/chat?room={mine.session_id}", f"/chat?room={theirs.session_id}", "/chat"]
    assert [ask(app, path, moderates(mine)).status_code for path in paths] == [200, 403, 403]


def test_a_function_finds_the_session_of_a_helper(app, mine, rooms):
    may_enter = require_role("moderator", session=a_function(rooms))(lambda: True)
    app.add_url_rule("/rooms/<room_id>", "room", lambda room_id: str(may_enter()))
    assert [ask(app, f"/rooms/{number}", moderates(mine)).status_code for number in rooms] == [200, 403, 403]


def test_an_optional_guard_looks_for_no_session_without_a_token(app, mine, rooms):
    guarded_view(app, require_token(optional=True, session=a_function(rooms)), "/rooms/<room_id>")
    assert [ask(app, f"/rooms/{number}").status_code for number in rooms] == [200, 200, 200]
    assert [ask(app, f"/rooms/{number}", moderates(mine)).status_code for number in rooms] == [200, 403, 403]


# -- what is about no session ----------------------------------------------------------------------

GUARDS: dict[str, dict[str, Any]] = {
    "unsaid": {},
    "a name": {"session_param": "room_id"},
    "a function": {"session": lambda request: request.view_args["room_id"]},
    "none": {"session_param": None},
}


@pytest.fixture(params=list(GUARDS.values()), ids=list(GUARDS))
def with_files(request, kit, tmp_path):
    (tmp_path / "a.txt").write_text("static")
    app = flask.Flask(__name__, static_folder=str(tmp_path), static_url_path="/static")
    app.register_blueprint(rolecall_blueprint(kit), url_prefix="/video")
    return protect(app, require_token(**request.param))


def test_files_and_unknown_paths_of_a_protected_app_need_a_token_of_any_session(with_files, mine):
    def status(path, token=None, method="GET"):
        response = ask(with_files, path, token, method)
        response.close()
        return response.status_code

    paths = ["/static/a.txt", "/static/nowhere", "/nowhere"]
    assert [status(path) for path in paths] == [401, 401, 401]
    assert [status(path, moderates(mine)) for path in paths] == [200, 404, 404]
    assert (status("/static/a.txt", method="POST"), status("/static/a.txt", moderates(mine), "POST")) == (401, 405)


def test_files_below_a_session_are_for_that_session(kit, mine, theirs, tmp_path):
    (tmp_path / "a.txt").write_text("static")
    app = flask.Flask(__name__, static_folder=None)
    app.register_blueprint(rolecall_blueprint(kit), url_prefix="/video")
    blueprint = flask.Blueprint("rooms", __name__, static_folder=str(tmp_path), url_prefix="/rooms/<session_id>")
    # Flask's own view for files takes the file's name alone.
    blueprint.url_value_preprocessor(lambda endpoint, values: values.pop("session_id", None))
    app.register_blueprint(protect(blueprint))
    name = tmp_path.name

    def status(session):
        response = ask(app, f"/rooms/{session.session_id}/{name}/a.txt", moderates(mine))
        response.close()
        return response.status_code

    assert [status(session) for session in (mine, theirs)] == [200, 403]


def test_the_grant_names_the_session_that_a_function_found(app, mine, rooms):
    app.add_url_rule(
        "/rooms/<room_id>", "room", require_token(session=a_function(rooms))(lambda room_id: current_grant.session_id)
    )
    assert ask(app, "/rooms/1", moderates(mine)).text == mine.session_id
