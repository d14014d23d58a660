"""What schemathesis does beside asking: the session that it has ended is open again for its next case."""

from __future__ import annotations

from urllib.parse import unquote
from urllib.request import urlopen

import schemathesis

from rolecall.actors import MAX_ACTOR_ID, problem_with_actor_id


@schemathesis.hook
def after_call(context, case, response):
    # In a sequence of requests what is ended stays ended, and what was created stays there.
    in_sequence = case.meta is not None and case.meta.phase.name.value == "stateful"
    path = case.operation.path
    takes_back = response.request.method == "DELETE" or path.endswith(
        ("/reset", "/exclusions", "/exclusions/{actor_id}")
    )
    if takes_back and response.status_code in (200, 204) and not in_sequence:
        with urlopen(case.operation.base_url.removesuffix("/video") + "/-/reset") as answer:
            assert answer.status == 200


@schemathesis.hook
def filter_case(context, case):
    # Starlette's Mount matches no path with a line break: what is answered then is the app's own, and no business of
    # the description.
    if any("\n" in unquote(str(value)) for value in (case.path_parameters or {}).values()):
        return False
    # No schema says that a text is in the composed form of Unicode, and that all of its characters show. One that is
    # too short or too long the schema does refuse, so it is asked for.
    body = case.body if isinstance(case.body, dict) else {}
    query, path = case.query or {}, case.path_parameters or {}
    named = [query.get("created_by"), query.get("actor"), path.get("actor_id"), body.get("actor")]
    described = [unquote(one) for one in named if isinstance(one, str) and 0 < len(one) <= MAX_ACTOR_ID]
    return all(problem_with_actor_id(one) is None for one in described)
