"""The newcomer's path, timed: from a clone to watching own clips being learnt in a browser.

    python benchmarks/newcomer.py VIDEOS --out newcomer.json

Types the commands of the README one after the other in a new folder and says when each was done, and when the browser showed the first
samples that training had drawn. Needs the extra `browser`, a Chromium, and whatever pip needs to install growreel.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
INSTALL = ("python3 -m venv .venv && . .venv/bin/activate", "pip install -q -c constraints.txt -e .")


def shown_in_browser(address: str) -> tuple[float, float]:
    """When the page of the run was there, and when it showed a picture of samples. Raises playwright's error after 15 minutes."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        page.set_default_timeout(900_000)
        page.goto(address)
        page.locator("#run-state:not(:empty)").wait_for()
        there = time.time()
        end = there + 900
        while not page.evaluate("document.getElementById('run-picture').naturalWidth > 0"):
            if time.time() > end:
                raise TimeoutError("no samples after 15 minutes")
            page.wait_for_timeout(500)
        seen = time.time()
        browser.close()
    return there, seen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("videos", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--size", default="16x64x64")
    parser.add_argument("--hours", default="8")
    options = parser.parse_args()
    steps = list[dict[str, Any]]()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "growreel"
        environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
        begin = time.time()

        def done(what: str, when: float | None = None) -> None:
            steps.append({"command": what, "minutes": round(((when or time.time()) - begin) / 60, 2)})
            print(f"{steps[-1]['minutes']:7.2f}  {what}", flush=True)

        def shell(command: str, **how: Any) -> subprocess.Popen[str]:
            return subprocess.Popen(["bash", "-c", command], cwd=place, env=environment, text=True, **how)

        subprocess.run(["git", "clone", "-q", str(ROOT), str(place)], check=True)
        done("git clone")
        activate = ". .venv/bin/activate && exec "
        prepare = f"growreel prepare {options.videos.resolve()} clips --size {options.size}"
        for command in (*INSTALL, prepare):
            bare = command.startswith("python3")
            finished = shell(command if bare else activate + command).wait()
            if finished not in (0, 1):  # 1: something was skipped, and said so
                raise SystemExit(f"{command}: exit code {finished}")
            done(command.replace(str(options.videos.resolve()), "my_videos"))
        training = viewer = None
        try:
            train = f"growreel train clips --out run --preset best --hours {options.hours}"
            training = shell(activate + train, stdout=subprocess.DEVNULL)
            done(train)
            while not (place / "run" / "config.yaml").exists() and training.poll() is None:
                time.sleep(0.2)
            viewer = shell(activate + "growreel view run --port 0", stdout=subprocess.PIPE)
            assert viewer.stdout is not None
            address = viewer.stdout.readline().split()[1]
            done("growreel view run")
            there, seen = shown_in_browser(address)
            done("(the page is open)", there)
            done("(it shows the first samples)", seen)
        finally:
            for process in (viewer, training):
                if process is not None:
                    process.terminate()
                    process.wait()
    options.out.write_text(json.dumps(steps, indent=2) + "\n")


if __name__ == "__main__":
    main()
