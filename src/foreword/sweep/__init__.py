"""Many configurations of one recipe, tried cheaply: a space, a search, the winner by validation, what mattered."""
