"""The models of the admin. The store makes its own tables, whenever ``migrate`` has run."""
