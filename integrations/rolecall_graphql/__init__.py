"""Rolecall for GraphQL: guards for resolvers and subscriptions, in Strawberry and Ariadne."""

from .guards import Field, current_grant, find_grant, require_capability, require_role, require_token

__all__ = ["Field", "current_grant", "find_grant", "require_capability", "require_role", "require_token"]
