"""The page at `/`: one form, one list, two charts; plain HTML, CSS and JavaScript, served as they lie here."""
