"""Dreams: what a layer sees, amplified. `dream` makes one, `dream_zoom` a journey, `dream_strip` layers."""
