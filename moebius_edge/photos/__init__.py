"""How image files become photos and masks, and how a result is written: pixels, colour, metadata."""
