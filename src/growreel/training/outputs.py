"""What a training run writes of its state: grids of samples, model files, checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from growreel.config import Config
from growreel.data.store import ClipStore, file_checksum
from growreel.models.files import model_header, write_model
from growreel.recipe import recipe_in_training
from growreel.sampling import clips_of_seeds, write_samples
from growreel.training.checkpoint import save_checkpoint
from growreel.training.refresh import refresh_report
from growreel.training.run_folder import RunFolder
from growreel.training.state import TrainingState


class Outputs:
    """Writes into the run folder. Only the first process of a training does."""

    def __init__(self, run: RunFolder, config: Config, state: TrainingState, store: ClipStore) -> None:
        self.run, self.config, self.state, self.store = run, config, state, store

    def sample_file(self, raw: bool = False) -> Path:
        """Where the grid of the clips shown so far belongs."""
        return self.run.samples / f"{self.state.clips_shown:09d}{'-raw' if raw else ''}.webp"

    def write_samples(self, raw: bool = False) -> None:
        """Write the grid of the fixed seeds, of the averaged generator or, `raw`, of the one that is being trained."""
        seeds, shown = range(self.config.training.sample_count), self.state.clips_shown
        clips = clips_of_seeds(self.state.generator if raw else self.state.ema, self.state.position, seeds)
        classes = self.config.network.classes
        recipe = None if raw else recipe_in_training(self.state.plan, shown, seeds, self._fps(), classes)  # no model file will be of `raw`
        write_samples(self.sample_file(raw), clips, seeds, fps=self._fps(), recipe=recipe)

    def write_checkpoint(self, means: dict[str, Any]) -> None:
        """Write the model file and the checkpoint, with what the statistics have added up (`RunningMeans.state_dict`)."""
        clips, run = self.state.clips_shown, self.run
        header = model_header(self.config, self.state.plan, clips, self._fps(), data=[record.facts() for record in run.data])
        model, sample = run.models / f"{clips:09d}.safetensors", self.sample_file()
        write_model(model, self.state.ema.state_dict(), header)  # first: no checkpoint without its model
        save_checkpoint(
            run.path,
            clips,
            {**self.state.state_dict(), "means": means},
            self.config.training.keep_checkpoints,
            statistics=run.stats.read_text(encoding="utf-8") if run.stats.exists() else "",
            model=header,
            made={str(path.relative_to(run.path)): file_checksum(path) for path in (model, sample) if path.exists()},
        )
        refresh_report(run.path, self.config.training.report and clips > 0)

    def _fps(self) -> float:
        """The store's frame rate, at the duration of the stage."""
        frames = self.state.plan.sizes[self.state.position.stage].t
        return self.store.fps * frames / self.store.size.t
