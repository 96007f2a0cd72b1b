"""A cluster on machines that somebody has, reached by SSH: what is put on them, in which order, and how it's removed again."""
