"""What a network's features still know of the image: pictures with the same features, and pictures of a class.

`inversion` from the features of one layer, `plug_in_inversion` from a class for any network; `error_table` puts the
first into numbers over layers and strengths, `inversion_pair` holds a clean and an adversarial image side by side.
"""
