"""How hidden states become answers; one file a readout, independent of the method."""
