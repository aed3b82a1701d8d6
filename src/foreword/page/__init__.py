"""Pages that need nothing else: one HTML file with drawings, without a script, a font or a request.

`plots` makes the drawings, `parts` tables and lists, `render` the page. Nothing here knows what the numbers mean.
"""
