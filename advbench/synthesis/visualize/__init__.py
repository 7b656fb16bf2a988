"""What a unit, a channel, a layer or a class wants to see: images that raise a target.

`visualize` climbs with the recipe asked for (`recipes.RECIPES`), `maco` changes the phases of a natural spectrum only,
`multifaceted` starts once from each group of the images that a unit likes, `generator_prior` moves the code of a
decoder. What is shared with inversion and dreams (upkeep after a step, redirected ReLUs) is in core.
"""
