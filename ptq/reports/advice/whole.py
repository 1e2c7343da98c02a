"""Rules on the model as a whole: one layer that stands out, many that add up, too few samples, what placement leaves float."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from .advice import Advice, Evidence, Text, db, harm, layer_of, leave_float

__all__ = ["few_samples", "float_by_placement", "many_layers", "worst_layer"]

BAD = 20.0
ENOUGH_SAMPLES = 32


def _poor(evidence: Evidence) -> bool:
    found = evidence.output_db
    return found is not None and found < BAD


def worst_layer(evidence: Evidence) -> Iterator[Advice]:
    """A layer that is bad by itself, and much worse than most."""
    found = sorted(((layer.alone_db or 0.0, layer) for layer in evidence.measured), key=lambda item: item[0])
    if len(found) < 2:
        return
    middle = median(value for value, _ in found)
    for value, layer in found[:5]:
        if value < BAD and value < middle - 8:
            yield Advice(
                "worst-layer",
                (layer.name,),
                harm(layer) - 0.5,
                Text(
                    f"this layer alone, on float inputs, has {db(value)}; the median layer has {db(middle)}",
                    f"该层单独（浮点输入下）的信噪比为 {db(value)}；各层中位数为 {db(middle)}",
                ),
                Text("one such layer spoils all that follows", "一个这样的层会损害其后所有的层"),
                Text("leave it float", "让它保持浮点"),
                leave_float(layer_of(layer.name)),
            )


def many_layers(evidence: Evidence) -> Iterator[Advice]:
    """No layer is to blame: small errors of many add up."""
    found = [layer.alone_db for layer in evidence.measured if layer.alone_db is not None]
    if not _poor(evidence) or not found or min(found) < BAD:
        return
    yield Advice(
        "many-layers",
        (),
        BAD - (evidence.output_db or 0.0),
        Text(
            f"the output has {db(evidence.output_db)}, though no layer alone is below {db(min(found))}",
            f"输出的信噪比为 {db(evidence.output_db)}，但没有任何层单独低于 {db(min(found))}",
        ),
        Text("small errors of many layers add up", "许多层的小误差累积起来"),
        Text(
            "round fewer tensors and choose ranges by error; then try the recoveries: bias correction, reconstruction, distillation",
            "减少舍入的张量，并按误差选择范围；然后尝试恢复方法：偏置校正、重建、蒸馏",
        ),
        'PTQConfig(MSEQuantizer(), placement="compute")',
    )


def few_samples(evidence: Evidence) -> Iterator[Advice]:
    """Ranges of few samples are uncertain."""
    count = evidence.calibrated
    if count is None or count >= ENOUGH_SAMPLES:
        return
    yield Advice(
        "few-samples",
        (),
        float(ENOUGH_SAMPLES - count) / 4,
        Text(f"calibrated with {count} samples", f"仅用 {count} 个样本校准"),
        Text(
            f"a new sample exceeds the range of {count} others with a probability of about {1 / (count + 1):.0%}, in every tensor",
            f"在每个张量上，新样本超出这 {count} 个样本范围的概率约为 {1 / (count + 1):.0%}",
        ),
        Text(f"calibrate with {ENOUGH_SAMPLES * 4} or more", f"使用 {ENOUGH_SAMPLES * 4} 个或更多样本校准"),
        f"ptq.quantize_model(model, data)  # {ENOUGH_SAMPLES * 4} samples or more",
    )


def float_by_placement(evidence: Evidence) -> Iterator[Advice]:
    """Operations between int8 layers are float because the placement says so; a runtime converts to and fro."""
    ledger = evidence.coverage
    if ledger is None or evidence.placement != "compute":
        return
    found = [row for row in ledger.rows if row.state in ("float", "observed") and "placement 'compute'" in row.reason]
    if not found:
        return
    yield Advice(
        "float-by-placement",
        tuple(row.site for row in found),
        0.5,
        Text(f"{len(found)} operations are float because of placement 'compute'", f"由于 placement 'compute'，{len(found)} 个算子为浮点"),
        Text("between int8 layers a runtime converts to float and back", "在 int8 层之间，运行时需要来回转换"),
        Text("where speed counts more than the last decibel, put all tensors on grids", "若速度比最后的精度更重要，将所有张量放到网格上"),
        'PTQConfig(placement="full")',
    )
