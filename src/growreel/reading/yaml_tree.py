"""YAML from files: mappings, lists and plain values as written, nothing that stands for something else.

Aliases, anchors and merge keys make a few hundred bytes into a tree without end; tags choose what is built. No configuration needs them.
"""

from __future__ import annotations

from typing import Any

import yaml

from growreel.reading.words import plain, shown

MOST_BYTES = 2**16
"""A configuration has some 3,000; PyYAML reads about 100,000 a second."""
MOST_LEVELS = 12


class _PlainLoader(yaml.SafeLoader):
    """PyYAML's safe loader without aliases, anchors, tags, merge keys, dates, repeated keys and deep nesting."""

    level = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise yaml.MarkedYAMLError(problem="aliases and anchors are not read; write the value out", problem_mark=event.start_mark)
        if getattr(event, "tag", None) is not None:
            raise yaml.MarkedYAMLError(problem=f"the tag {shown(event.tag)} is not read; leave it out", problem_mark=event.start_mark)
        self.level += 1
        if self.level > MOST_LEVELS:
            raise yaml.MarkedYAMLError(problem=f"nested more than {MOST_LEVELS} levels deep", problem_mark=event.start_mark)
        try:
            return super().compose_node(parent, index)
        finally:
            self.level -= 1

    def flatten_mapping(self, node: Any) -> None:
        """Refuse what this would resolve: keys that merge other mappings in, and keys that are there twice."""
        names = set()
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                raise yaml.MarkedYAMLError(problem="merge keys (<<) are not read; write the values out", problem_mark=key.start_mark)
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="a key is no plain word", problem_mark=key.start_mark)
            if key.value in names:
                raise yaml.MarkedYAMLError(problem=f"key {shown(key.value)} is there twice", problem_mark=key.start_mark)
            names.add(key.value)


_PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def parse_yaml(text: str | bytes) -> Any:
    """The tree that a YAML text says; None for an empty one.

    Raises ValueError, with the line and a message fit for a user, if it is not YAML or has what this module leaves out.
    """
    if len(text) > MOST_BYTES:
        raise ValueError(f"it has {len(text):,} bytes; a configuration has at most {MOST_BYTES:,}")
    try:
        return yaml.load(text, _PlainLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}: " if mark else ""
        raise ValueError(f"{place}{plain(error.problem or error)}") from None
    except (yaml.YAMLError, RecursionError, UnicodeDecodeError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(plain(error) or type(error).__name__) from None  # PyYAML: int('0b_') is a ValueError, '\UFFFFFFFF' another
