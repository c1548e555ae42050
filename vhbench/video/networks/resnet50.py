"""ResNet-50 in plain torch, with torchvision's parameter names.

He, Zhang, Ren and Sun, "Deep residual learning for image recognition", CVPR 2016 (arXiv 1512.03385), table 1; the
stride stands in a block's 3 x 3 convolution, as in torchvision ("v1.5").
"""

from __future__ import annotations

from torch import Tensor, nn

DIM = 2048
STAGES = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))  # width, blocks, stride


class ResNet50(nn.Module):
    """The network up to its pooled features; `fc`, the classifier, is there for its weights' sake."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        before = 64
        for number, (width, blocks, stride) in enumerate(STAGES, 1):
            stage = [_Block(before if n == 0 else 4 * width, width, stride if n == 0 else 1) for n in range(blocks)]
            self.add_module(f"layer{number}", nn.Sequential(*stage))
            before = 4 * width
        self.fc = nn.Linear(DIM, 1000)

    def forward(self, pictures: Tensor) -> Tensor:
        """Map pictures, float32 (b, 3, 224, 224), to pooled features, float32 (b, 2048)."""
        x: Tensor = self.maxpool(self.bn1(self.conv1(pictures)).relu())
        for number in range(1, len(STAGES) + 1):
            x = self.get_submodule(f"layer{number}")(x)
        return x.mean((2, 3))


class _Block(nn.Module):
    """A bottleneck: 1 x 1, 3 x 3, 1 x 1, and what came in added."""

    def __init__(self, before: int, width: int, stride: int):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(before, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width)
        self.downsample: nn.Module | None = None
        if before != 4 * width or stride > 1:
            self.downsample = nn.Sequential(
                nn.Conv2d(before, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width)
            )

    def forward(self, before: Tensor) -> Tensor:
        """Map maps (b, before, h, w) to (b, 4 width, h / stride, w / stride)."""
        x: Tensor = self.bn1(self.conv1(before)).relu()
        x = self.bn2(self.conv2(x)).relu()
        x = self.bn3(self.conv3(x))
        kept: Tensor = before if self.downsample is None else self.downsample(before)
        return (x + kept).relu()
