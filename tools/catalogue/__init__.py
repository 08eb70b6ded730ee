"""The generator of the catalogue: what packages say of models, one rule of money, one file of rows."""
