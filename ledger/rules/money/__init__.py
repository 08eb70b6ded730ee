"""Money beside calls: what operators give and take, and which part of a balance can expire."""
