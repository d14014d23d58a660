"""What schemathesis does beside asking: the session that it has ended is open again for its next case."""

from __future__ import annotations

from urllib.request import urlopen

import schemathesis


@schemathesis.hook
def after_call(context, case, response):
    # In a sequence of requests what is ended stays ended, and what was created stays there.
    in_sequence = case.meta is not None and case.meta.phase.name.value == "stateful"
    if response.request.method == "DELETE" and response.status_code == 204 and not in_sequence:
        with urlopen(case.operation.base_url.removesuffix("/video") + "/-/reset") as answer:
            assert answer.status == 200
