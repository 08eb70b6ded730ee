"""How a translated answer looks in the dialect of Responses: items, one after another, in one response object."""
