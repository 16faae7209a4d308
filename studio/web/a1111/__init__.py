"""AUTOMATIC1111's API, for programs that are made for it: its addresses, its fields and the forms of its answers.

What is asked in its fields becomes a request of the studio's own, by the table of fields and the reader of its
infotext. A setting that is understood and cannot be obeyed is refused where it would change the picture, and is named
in the answer where it would not.
"""
