"""A small class app: teachers open lessons and moderate them, pupils publish until the lesson is over."""
