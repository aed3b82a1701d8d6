"""How good a foreword is, and how sure that is.

`metrics` of class indices, `baselines` that have learned nothing, `statistics` of differences, and the HTML `report`.
None of these four needs torch or a model; numbers go in and numbers, or a page, come out.
"""
