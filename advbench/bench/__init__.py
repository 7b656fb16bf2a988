"""The matrix: from a YAML file to stored, judged rows.

The way through: `yaml_loader` and `config` read the file strictly, `matrix` unfolds it into jobs (`jobs`), `plan` says
what they cost, `runner` and `engines` work them off, `run_cell` computes one: `recipes` gets the model, `scene` sets up
one attack, `evaluate` runs it over the grid of radii, `judge` decides success, `ledger` holds the rows, `cell_folder`
and the store keep them. `status`, `export`, `verify` read what is stored.

What does not belong: methods (they are reached through the registry), drawing of reports (they read stored rows only).
"""
