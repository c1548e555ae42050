"""VGG-16 in plain torch, with torchvision's parameter names.

Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition", ICLR 2015 (arXiv
1409.1556), table 1, column D.
"""

from __future__ import annotations

from torch import Tensor, nn

CHANNELS = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)  # 0: halve the maps
PARTS = {"fc6": 1, "fc6-relu": 2, "fc7": 4, "fc7-relu": 5}  # layer -> parts of the classifier before it ends
DIM = 4096


class Vgg16(nn.Module):
    """The network up to a layer.

    Args:
        layer: one of PARTS.
    """

    def __init__(self, layer: str):
        super().__init__()
        parts: list[nn.Module] = []
        before = 3
        for after in CHANNELS:
            parts += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU()] if after else [nn.MaxPool2d(2)]
            before = after or before
        self.features = nn.Sequential(*parts)
        self.classifier = nn.Sequential(
            nn.Linear(512 * 7 * 7, DIM), nn.ReLU(), nn.Dropout(), nn.Linear(DIM, DIM), nn.ReLU(), nn.Dropout(),
            nn.Linear(DIM, 1000),
        )  # fmt: skip
        self._parts = PARTS[layer]

    def forward(self, pictures: Tensor) -> Tensor:
        """Map pictures, float32 (b, 3, 224, 224), to the layer's values, float32 (b, 4096)."""
        x = self.features(pictures).flatten(1)
        for part in self.classifier[: self._parts]:
            x = part(x)
        return x
