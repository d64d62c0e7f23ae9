"""Pure torch: stacked layers, encoder, decoder, prototypes. No AnnData, no config, no logger."""
