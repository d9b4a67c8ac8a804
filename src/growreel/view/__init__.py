"""The live viewer: a local page that reads run folders, models and stores, in a process of its own; training never imports it.

Files: `door` says who may come in, `server` bounds what they may take, `application` knows the addresses; `subject` is what the viewer was
given, and every page has a file of its own. `static/` is what the browser gets: no build step, no framework.
"""
