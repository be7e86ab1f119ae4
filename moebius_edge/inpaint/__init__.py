"""How a photo becomes a filled photo: options, masks, crops, noise, the loop and the paste."""
