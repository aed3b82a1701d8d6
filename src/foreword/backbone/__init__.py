"""The frozen model: loading, geometry, probing, and the places where injections enter."""
