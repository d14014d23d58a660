"""Guards for resolvers: ``require_role``, ``require_capability``, ``require_token``, and the current grant."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing
from functools import partial, wraps
from typing import Any, Final, NamedTuple, TypeVar, cast

from graphql import GraphQLError

from rolecall import Grant
from rolecall.errors import ConfigurationError, RolecallError
from rolecall.http import adapter

from .connections import connection_of

Target = TypeVar("Target", bound=Callable[..., Any])

# Parameters that Strawberry gives the parent's value, by name.
_SOURCES: Final = frozenset({"self", "root"})


class Field(NamedTuple):
    """A field that is to be resolved, for the ``session`` function of a guard.

    :param source: the parent's value.
    :param info: the ``info`` of the resolver.
    :param arguments: the field's arguments, by name.
    """

    source: Any
    info: Any
    arguments: Mapping[str, Any]


class Guard(adapter.Guard):
    """Admits a resolver, or the source of a subscription, if the request's grant meets the requirement.

    The grant is that of a guard around the GraphQL endpoint, which has admitted the request.
    """

    def __call__(self, target: Target) -> Target:
        if inspect.isclass(target) or not callable(target) or not hasattr(target, "__name__"):
            raise ConfigurationError(
                f"a guard of rolecall_graphql protects a resolver, a function, not {adapter.shown(target)}; in "
                "Strawberry it stands below @strawberry.field"
            )
        enter = partial(self._enter, inspect.signature(target))
        guarded: Any

        if inspect.isasyncgenfunction(target):

            @wraps(target)
            async def guarded(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
                watch = await enter(args, kwargs)
                async with aclosing(_while_granted(watch, target(*args, **kwargs))) as values:
                    async for value in values:
                        yield value

        elif inspect.iscoroutinefunction(target):

            @wraps(target)
            async def guarded(*args: Any, **kwargs: Any) -> Any:
                return await _admitted(enter(args, kwargs), partial(target, *args, **kwargs))

        else:

            @wraps(target)
            def guarded(*args: Any, **kwargs: Any) -> Any:
                if _runs_on_a_loop():
                    return _admitted(enter(args, kwargs), partial(target, *args, **kwargs))
                adapter.drive(enter(args, kwargs))
                return target(*args, **kwargs)

        return cast("Target", guarded)

    async def _enter(
        self, signature: inspect.Signature, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> adapter.Watch | None:
        """Admit a resolver.

        :raises GraphQLError: if it is refused. Of a fault of the server, which is logged, it says no more than that.
        """
        try:
            info, arguments = _read(signature, args, kwargs)
            kept, request = connection_of(info.context)
            field = Field(args[0] if args else None, info, arguments)
        except Exception as caught:
            raise _graphql_error(adapter.noted(caught)) from None
        try:
            return await adapter.enter_within(kept, request, self, arguments, f"the field {info.field_name}", field)
        except GraphQLError:
            raise  # the answer of the app's own session function
        except RolecallError as error:
            raise _graphql_error(error) from None
        except Exception as caught:
            raise _graphql_error(adapter.noted(caught)) from None


def _graphql_error(error: RolecallError) -> GraphQLError:
    return GraphQLError(error.public_message, extensions={"code": error.code, "status": error.status})


def _read(signature: inspect.Signature, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Mapping[str, Any]]:
    """The ``info`` of a resolver's call, and the field's arguments, also those that were left out."""
    bound = signature.bind(*args, **kwargs)
    bound.apply_defaults()
    info = next((value for value in (*args, *kwargs.values()) if _is_info(value)), None)
    if info is None:
        raise ConfigurationError(
            "the guard of a resolver sees no info, and so no request; let the resolver take one: info: strawberry.Info"
        )
    arguments: dict[str, Any] = {}
    for place, (name, value) in enumerate(bound.arguments.items()):
        kind = signature.parameters[name].kind
        is_source = name in _SOURCES or (place == 0 and bool(args))
        if kind is inspect.Parameter.VAR_KEYWORD:
            # What the client leaves out is not passed at all.
            arguments.update({**dict.fromkeys(_declared(info)), **value})
        elif kind is not inspect.Parameter.VAR_POSITIONAL and not is_source and not _is_info(value):
            arguments[name] = value
    return info, arguments


def _declared(info: Any) -> Iterator[str]:
    """The names of the arguments that the schema gives a field, as its resolver is passed them."""
    raw = getattr(info, "_raw_info", info)
    for name, argument in raw.parent_type.fields[raw.field_name].args.items():
        yield argument.out_name or name


def _is_info(value: Any) -> bool:
    raw = getattr(value, "_raw_info", value)  # of Strawberry, in an object of its own
    return hasattr(raw, "field_nodes") and hasattr(raw, "parent_type")


def _runs_on_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


async def _admitted(entering: Awaitable[adapter.Watch | None], resolve: Callable[[], Any]) -> Any:
    """The answer of an admitted resolver; the values of a subscription, however they are made, while it is granted."""
    watch = await entering
    answer = resolve()
    if inspect.isawaitable(answer):
        answer = await answer
    return _while_granted(watch, answer) if hasattr(answer, "__aiter__") else answer


def _while_granted(watch: adapter.Watch | None, values: Any) -> Any:
    """The values of a subscription while its grant is live."""
    return values if watch is None else adapter.while_granted([watch], values, asyncio.to_thread)


require_role, require_capability, require_token = Guard.of_role, Guard.of_capability, Guard.of_token


def find_grant(info: Any) -> Grant | None:
    """The grant of a query's request; None if a guard with ``optional=True`` admitted it without a token.

    :param info: the ``info`` of a resolver.
    """
    return adapter.granted(connection_of(info.context)[0])


def current_grant(info: Any) -> Grant:
    """The grant of a query's request.

    :param info: the ``info`` of a resolver.
    :raises RuntimeError: if it has none.
    """
    return adapter.current_grant(connection_of(info.context)[0])
