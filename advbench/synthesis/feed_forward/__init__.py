"""Networks that make a picture in one pass, trained against the same losses that an optimised image would have.

`networks` has what is trained, `training` the one loop, `losses` what it lowers; `train_style` (a network for one or
several styles), `adaptive` (any style, by its statistics) and `contrastive` (styles learned by contrast) put them
together. `video` turns a stream of frames. What does not belong: files, progress bars, the choice of photographs.
"""
