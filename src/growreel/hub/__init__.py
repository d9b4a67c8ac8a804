"""Models on the Hugging Face hub: a repository with a model card, made from a run or a model file, and models from there."""

from growreel.hub.pretrained import from_pretrained
from growreel.hub.push import push, write_repository

__all__ = ["from_pretrained", "push", "write_repository"]
