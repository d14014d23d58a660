"""The kit's own routes, as data: paths, bodies, answers, handlers."""
