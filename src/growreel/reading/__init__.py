"""Files that may come from strangers: structure first against what it should be, then memory, then use.

One rule for all formats: nothing is believed that the file's own length does not bear out, and whatever is wrong is one clear line.
"""
