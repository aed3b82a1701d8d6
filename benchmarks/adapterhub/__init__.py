"""AdapterHub's `adapters` as a peer, in an environment of its own: it pins a transformers that foreword cannot use."""
