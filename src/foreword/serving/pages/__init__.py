"""The pages of the server: playground, forewords, stories, status.

`site` puts them together: an application of its own below `/pages`, with HTML for its errors. Each page is a module
with its routes and one or two with what it knows: `playground` and `asking`; `forewords`, `shelf` and `looking`;
`stories`, `studio` and `writer`; `status` and `figures`. `access` says who may see them.

Templates are rendered with everything escaped; the style sheet, htmx and one script are files beside them, so that the
browser runs nothing that stands in a page.
"""
