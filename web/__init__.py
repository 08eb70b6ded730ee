"""What pages are made of: templates, one style sheet, small modules, charts, and how figures are written."""
