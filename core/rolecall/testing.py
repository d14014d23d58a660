"""A pytest plugin for app teams: real kits, real tokens, and a clock that stands still."""
