"""A network of one's own: any torch.nn.Module whose last layer is linear."""

from torch import nn


class Small(nn.Module):
    """Two convolutions with batch norm, and a linear layer that each run replaces by its own."""

    def __init__(self, width=32, outputs=10):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, width, 3, stride=2, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, stride=2, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
        )
        self.classifier = nn.Linear(4 * width, outputs)

    def forward(self, x):
        return self.classifier(self.body(x))
