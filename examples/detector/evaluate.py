"""Box and mask AP by pycocotools, and the IoU of masks in the true boxes."""

import contextlib
import io

import numpy as np
import tensorflow as tf

from .scenes import pad, to_floats
from .settings import CLASSES


def detect(model, scenes, batch_size=16):
    """Runs `model` on scenes. Returns a list with the detections of each, as a dict of arrays."""
    run = tf.function(
        lambda images: model(to_floats(images), training=False),
        autograph=False,
    )
    found = []
    for first in range(0, len(scenes), batch_size):
        images = np.stack([scene.image for scene in scenes[first : first + batch_size]])
        outputs = {name: value.numpy() for name, value in run(images).items()}
        for i in range(len(images)):
            found.append(without_padding({name: value[i] for name, value in outputs.items()}))
    return found


def without_padding(detections):
    """The detections of one image that are any."""
    is_any = detections["scores"] > 0
    return {name: value[is_any] for name, value in detections.items()}


def average_precision(scenes, found):
    """Returns {"box_ap", "box_ap50", "mask_ap", "mask_ap50"}, as COCO defines them."""
    # Here, since it is an extra: the rest of the example does without.
    from pycocotools import mask as coco_masks
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def entry(image, label, box, mask, **others):
        x1, y1, x2, y2 = map(float, box)
        return {
            "id": 0,
            "image_id": image + 1,
            "category_id": int(label) + 1,
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "area": float(mask.sum()),
            "segmentation": coco_masks.encode(np.asfortranarray(mask.astype(np.uint8))),
            "iscrowd": 0,
            **others,
        }

    truth, results = [], []
    for i, (scene, detections) in enumerate(zip(scenes, found, strict=True)):
        for label, box, mask in zip(scene.labels, scene.boxes, scene.masks, strict=True):
            truth.append(entry(i, label, box, mask))
        for box, score, label, probabilities in zip(
            *(detections[name] for name in ("boxes", "scores", "classes", "masks")), strict=True
        ):
            mask = paste(probabilities, box, scene.owners.shape) > 0.5
            results.append(entry(i, label, box, mask, score=float(score)))
    for name in truth, results:
        for number, item in enumerate(name):
            item["id"] = number + 1

    def dataset(annotations):
        coco = COCO()
        coco.dataset = {
            "images": [
                {"id": i + 1, "height": height, "width": width}
                for i, (height, width) in enumerate(scene.owners.shape for scene in scenes)
            ],
            "categories": [{"id": i + 1, "name": name} for i, name in enumerate(CLASSES)],
            "annotations": annotations,
        }
        coco.createIndex()
        return coco

    averages = {}
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools tells what it does
        truth, results = dataset(truth), dataset(results)
        for name, kind in ("box", "bbox"), ("mask", "segm"):
            evaluation = COCOeval(truth, results, kind)
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
            averages[f"{name}_ap"] = float(evaluation.stats[0])
            averages[f"{name}_ap50"] = float(evaluation.stats[1])
    return averages


def mask_iou(model, scenes, batch_size=16):
    """The mean IoU of the masks that the mask head finds in the true boxes."""
    run = tf.function(
        lambda images, *boxes: model.masks_of(to_floats(images), *boxes),
        autograph=False,
    )
    overlaps = []
    for first in range(0, len(scenes), batch_size):
        some = scenes[first : first + batch_size]
        images, boxes, labels, _ = pad(some, model.settings.max_objects)
        masks = run(images, boxes, np.maximum(labels, 0)).numpy()
        for scene, found in zip(some, masks, strict=True):
            for box, mask, probabilities in zip(
                scene.boxes, scene.masks, found[: len(scene.boxes)], strict=True
            ):
                pasted = paste(probabilities, box, mask.shape) > 0.5
                overlaps.append((pasted & mask).sum() / (pasted | mask).sum())
    return float(np.mean(overlaps))


def paste(probabilities, box, size):
    """A mask `[28, 28]` in its box, as one of the size of the image; zero outside of the box."""
    x1, y1, x2, y2 = box
    rows = _interpolation(y1, y2, probabilities.shape[0], size[0])
    columns = _interpolation(x1, x2, probabilities.shape[1], size[1])
    return rows @ probabilities @ columns.T


def _interpolation(start, end, bins, size):
    """`[size, bins]`: by how much each bin counts in each pixel of one axis."""
    centres = np.arange(size) + 0.5
    places = (centres - start) / max(end - start, 1e-6) * bins - 0.5
    distances = abs(np.clip(places, 0, bins - 1)[:, None] - np.arange(bins))
    inside = (centres > start) & (centres < end)
    return np.maximum(1 - distances, 0) * inside[:, None]
