"""The commands: each calls the kit once, and prints the result."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, Final, NoReturn

import click

from .. import __version__
from ..clock import system_clock
from ..errors import ConfigurationError, InvalidToken, RolecallError
from ..explain import Explanation
from ..formats import inspect_token
from ..http.guards.audit import Access
from ..plugins.sources import offered, origin_of, package_of
from ..tokens import ExpireTime
from .apps import AppNotFound, find_app, routes_of
from .arguments import read_token
from .console import abandon_output, prepare_stdout, print_error, print_json, print_report, without_long_arguments
from .doctor import doctor
from .keys import keys
from .kits import EXIT_CODES, FAILED, REFUSED, Clock, answering, configuration_hint, kit_of
from .ledger import list_tokens
from .media import media
from .options import json_option, store_option, token_argument, wanted_token
from .reports import (
    Verdict,
    accepted,
    explanation_report,
    grant_report,
    inspection_report,
    plugins_report,
    routes_report,
    token_report,
)
from .revocations import revoke_actor, revoke_before, revoke_token
from .sessions import session
from .stores import store

INTERRUPTED: Final = 130
#: A shell's exit code for a program that SIGPIPE ended: the reader of the output (``head -1``) has gone.
READER_GONE: Final = 141


class _ReaderGone(Exception):
    """A broken pipe, in a class that click does not handle: click would exit with 1, which means "refused"."""


class CommandLine(click.Group):
    """The root command. It turns every error into a line or two, and an exit code."""

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """See :meth:`click.Command.make_context`; it prints the help."""
        with _noticing_a_broken_pipe():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """See :meth:`click.Command.invoke`."""
        with _noticing_a_broken_pipe():
            return super().invoke(ctx)

    def main(self, *args: Any, **extra: Any) -> NoReturn:
        """Run, and exit."""
        try:
            self._main(*args, **extra)
        except (_ReaderGone, BrokenPipeError):  # the latter from printing an error
            abandon_output()
            sys.exit(READER_GONE)

    def _main(self, *args: Any, **extra: Any) -> NoReturn:
        extra["standalone_mode"] = False
        try:
            prepare_stdout()
            sys.exit(super().main(*args, **extra) or 0)
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
        except click.UsageError as error:
            path = error.ctx.command_path if error.ctx else "rolecall"
            print_error(without_long_arguments(error.format_message()), f"See: {path} --help")
        except click.ClickException as error:
            print_error(error.format_message())
        except click.Abort:
            sys.exit(INTERRUPTED)
        except BrokenPipeError:
            raise
        except OSError as error:
            print_error(error.strerror or str(error))
            abandon_output()
        sys.exit(FAILED)


@contextmanager
def _noticing_a_broken_pipe() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as error:
        raise _ReaderGone from error


@click.group(
    cls=CommandLine,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=EXIT_CODES,
)
@click.version_option(__version__, message="rolecall %(version)s")
@click.pass_context
def rolecall(context: click.Context) -> None:
    """Sessions and role tokens for apps with live sessions.

    \b
    Configuration comes from the environment:
      ROLECALL_API_KEY     the project's API key
      ROLECALL_API_SECRET  its secret: 32 bytes or more, known to nobody else
      ROLECALL_STORE       where sessions are kept (default: memory://)
      ROLECALL_PLUGINS     the app's policies, for example: school.policies:Lessons

    A secret is never taken as an argument, because arguments show in the list of processes.

    \b
    Examples:
      rolecall demo
      rolecall session create
      rolecall token generate SESSION_ID --role moderator --expires-in 2h
      rolecall token inspect - < token.txt
      rolecall explain access - --role moderator < token.txt
    """
    if context.obj is None:
        context.obj = system_clock


for command in (session, store, keys, media, doctor):
    rolecall.add_command(command)


@rolecall.command(epilog=EXIT_CODES)
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="The address to listen on.")
@click.option(
    "--port",
    default=8000,
    show_default=True,
    type=click.IntRange(0, 65_535),
    metavar="PORT",
    help="The port to listen on.",
)
@click.option("--store", metavar="URL", help="Where the demo keeps its sessions, for example sqlite:///demo.db.")
def demo(host: str, port: int, store: str | None) -> None:
    """Run the demo app until Ctrl-C. It needs the extra "demo".

    \b
    Examples:
      rolecall demo
      rolecall demo --port 9000 --store sqlite:///demo.db
    """
    try:
        import rolecall_demo
    except ModuleNotFoundError as error:
        print_error(f"the demo needs {error.name}, which is missing", 'Install it with: pip install "rolecall[demo]"')
        raise click.exceptions.Exit(FAILED) from None
    try:
        with answering():
            rolecall_demo.serve(host, port, store)
    except KeyboardInterrupt:
        return


@rolecall.group()
def token() -> None:
    """Generate, verify, inspect, list and revoke tokens."""


for command in (list_tokens, revoke_token, revoke_actor, revoke_before):
    token.add_command(command)


@token.command("generate", epilog=EXIT_CODES)
@wanted_token
@store_option
@json_option
@click.pass_obj
def generate_token(
    clock: Clock,
    session_id: str,
    role: Any,
    expires_in: timedelta | None,
    expire_time: float | datetime | None,
    data: str | None,
    layout: tuple[str, ...],
    actor: str | None,
    store: str | None,
    as_json: bool,
) -> None:
    """Mint a token for the session SESSION_ID, and print it.

    It lives 24 hours unless --expires-in or --expire-time says otherwise, and at most 30 days.

    \b
    Examples:
      rolecall token generate "$(rolecall session create)"
      rolecall token generate SESSION_ID --role moderator --expires-in 2h --data "name=Ada"
      rolecall token generate SESSION_ID --expire-time 2030-01-31T18:00:00Z --layout focus --layout small
      rolecall token generate SESSION_ID --actor ada | rolecall explain ticket -
    """
    expiry = _expiry(expires_in, expire_time)
    with answering(as_json), kit_of(clock, store) as kit:
        minted = kit.generate_token(session_id, role, expiry, data, layout, actor=actor)
        print_report(token_report(minted, inspect_token(minted).claims), as_json)


def _expiry(expires_in: timedelta | None, expire_time: float | datetime | None) -> ExpireTime:
    if expires_in is not None and expire_time is not None:
        raise click.UsageError("--expires-in and --expire-time exclude each other; give one of them")
    return expire_time if expires_in is None else expires_in


@token.command("verify", epilog=EXIT_CODES)
@token_argument
@click.option("--session-id", metavar="ID", help="Demand that the token is for this session.")
@store_option
@json_option
@click.pass_obj
def verify_token(clock: Clock, token: str, session_id: str | None, store: str | None, as_json: bool) -> None:
    """Verify TOKEN: show what it grants, or why it is refused.

    With '-' the token is read from stdin, which is better: arguments show in the list of processes.

    \b
    Examples:
      rolecall token verify - < token.txt
      rolecall token verify - --session-id SESSION_ID --json < token.txt
    """
    with answering(as_json), kit_of(clock, store) as kit:
        grant = kit.verify_token(read_token(token), session_id)
        print_report(grant_report(grant, clock()), as_json)


@token.command("inspect", epilog=EXIT_CODES)
@token_argument
@store_option
@json_option
@click.pass_obj
def inspect(clock: Clock, token: str, store: str | None, as_json: bool) -> None:
    """Show the parts of TOKEN: its format, claims, role and times, and whether it is accepted.

    It works for any token, also a refused one, and without a secret; then the signature is not checked. The signature
    itself is not shown, so nobody can use the token from the output.

    With '-' the token is read from stdin, which is better: arguments show in the list of processes. The exit code is 0
    if the token can be shown, and 1 if it is not a token at all.

    \b
    Examples:
      rolecall token inspect - < token.txt
      rolecall token generate SESSION_ID | rolecall token inspect - --json
    """
    with answering(as_json):
        text = read_token(token)
        inspection = inspect_token(text)
        verdict = _verdict(text, clock, store)
        print_report(inspection_report(inspection, verdict, clock()), as_json)


def _verdict(token: str, clock: Clock, store: str | None) -> Verdict:
    try:
        with kit_of(clock, store) as kit:
            return accepted(kit.verify_token(token), clock())
    except InvalidToken as error:
        return Verdict(False, error.code, str(error))
    except ConfigurationError as error:
        return Verdict(None, error.code, str(error), configuration_hint())
    except RolecallError as error:
        return Verdict(None, error.code, str(error))


@rolecall.group()
def explain() -> None:
    """Show why a token or a ticket is issued or not, or why access is granted or not."""


@explain.command("token", epilog=EXIT_CODES)
@wanted_token
@store_option
@json_option
@click.pass_obj
def explain_token(
    clock: Clock,
    session_id: str,
    role: Any,
    expires_in: timedelta | None,
    expire_time: float | datetime | None,
    data: str | None,
    layout: tuple[str, ...],
    actor: str | None,
    store: str | None,
    as_json: bool,
) -> None:
    """Show, step by step, whether a token would be issued. None is issued.

    The request counts as one of the app's own code, which is trusted; a policy that votes only on requests from outside
    abstains. SESSION_ID and the options are those of "rolecall token generate".

    \b
    Examples:
      rolecall explain token SESSION_ID --role moderator
      rolecall explain token SESSION_ID --expires-in 7d --data "name=Ada" --json
    """
    expiry = _expiry(expires_in, expire_time)
    with answering(as_json), kit_of(clock, store) as kit:
        _print_explanation(kit.explain_token(session_id, role, expiry, data, layout, actor=actor), as_json)


@explain.command("access", epilog=EXIT_CODES)
@token_argument
@click.option("--role", metavar="ROLE", help="The role that the route requires.")
@click.option("--capability", metavar="CAPABILITY", help="Or the capability, for example force_disconnect.")
@click.option("--session-id", metavar="ID", help="The session that the route is about.")
@store_option
@json_option
@click.pass_obj
def explain_access(
    clock: Clock,
    token: str,
    role: Any,
    capability: Any,
    session_id: str | None,
    store: str | None,
    as_json: bool,
) -> None:
    """Show, step by step, whether TOKEN would open a guarded route.

    Without --role and --capability the route requires any good token. The token is not shown.

    With '-' the token is read from stdin, which is better: arguments show in the list of processes.

    \b
    Examples:
      rolecall explain access - --role moderator < token.txt
      rolecall explain access - --capability publish --session-id SESSION_ID --json < token.txt
    """
    if role is not None and capability is not None:
        raise click.UsageError("--role and --capability exclude each other; give one of them")
    with answering(as_json), kit_of(clock, store) as kit:
        explanation = kit.explain_access(read_token(token), role=role, capability=capability, session_id=session_id)
        _print_explanation(explanation, as_json)


@explain.command("ticket", epilog=EXIT_CODES)
@token_argument
@store_option
@json_option
@click.pass_obj
def explain_ticket(clock: Clock, token: str, store: str | None, as_json: bool) -> None:
    """Show, step by step, whether TOKEN would be exchanged for a ticket of its session's media service.

    None is issued, and the service is not asked. The token is not shown. With '-' it is read from stdin, which is
    better: arguments show in the list of processes.

    \b
    Examples:
      rolecall explain ticket - < token.txt
    """
    with answering(as_json), kit_of(clock, store) as kit:
        _print_explanation(kit.explain_ticket(read_token(token)), as_json)


def _print_explanation(explanation: Explanation, as_json: bool) -> None:
    print_report(explanation_report(explanation), as_json)
    if not explanation.allowed:
        raise click.exceptions.Exit(REFUSED)


@rolecall.command(epilog=EXIT_CODES)
@json_option
@click.pass_obj
def plugins(clock: Clock, as_json: bool) -> None:
    """Show the loaded plugins, their origins, and for each hook the plugins that it calls, in order.

    The plugins are those in ROLECALL_PLUGINS and ROLECALL_ENTRY_POINTS, without those that an app passes in its own
    code. A plugin that cannot be loaded stops this command, as it stops the app. Installed plugins that are not loaded
    are listed below.

    \b
    Examples:
      rolecall plugins
      ROLECALL_PLUGINS=school.policies:Lessons rolecall plugins --json
    """
    with answering(as_json), kit_of(clock) as kit:
        loaded = {plugin.origin for plugin in kit.plugins}
        left = {one.name: package_of(one) for one in offered() if origin_of(one) not in loaded}
        print_report(plugins_report(kit.plugins, left), as_json)


@rolecall.command(
    epilog="""\b
Exit codes:
  0  done; with --check: nothing is to be done
  1  with --check: a route is open, or there is a mistake
  2  not carried out: wrong usage, or an app that cannot be imported
"""
)
@click.argument("app", metavar="MODULE:APP")
@click.option("--check", is_flag=True, help="Fail if a route is open and not marked as public, or there is a mistake.")
@click.option("--app", "is_own_hidden", is_flag=True, help="Show the app's routes alone, without the kit's own.")
@json_option
def routes(app: str, check: bool, is_own_hidden: bool, as_json: bool) -> None:
    """List the routes and WebSockets of an app, with what each requires.

    MODULE:APP names a Flask, Starlette or FastAPI app, or any WSGI or ASGI app, as for web servers; the current folder
    is searched, too. Without :APP it is "app" or "application"; MODULE:create_app() calls a factory, whose arguments
    may be literals. The app is imported, and not run.

    \b
    Examples:
      rolecall routes school.web:app
      rolecall routes "school.web:create_app(testing=True)" --check
      rolecall routes school.web --app
      rolecall routes school.web --json
    """
    try:
        found = routes_of(find_app(app))
        listed = [one for one in found if not (is_own_hidden and one.access is Access.KIT and one.is_good)]
        report = routes_report(app, listed)
    except AppNotFound as error:
        if as_json:
            print_json({"app": app, "ok": False, "error": str(error)})
        else:
            print_error(str(error), error.hint)
        raise click.exceptions.Exit(FAILED) from None
    print_report(report, as_json)
    if check and not report.data["ok"]:
        raise click.exceptions.Exit(REFUSED)
