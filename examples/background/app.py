"""Train a small model in the background and post the result. Run it with ``python app.py``.

``receiver.py`` beside it receives the webhook.
"""

import os
from typing import Any

import torch
from pydantic import BaseModel, Field, model_validator

from potassium import Jobs, Potassium, Webhooks, current_request

# Made with: "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
SECRET = os.environ.get("WEBHOOK_SECRET", "whsec_cG90YXNzaXVtIHBvdGFzc2l1bSBwb3Rhc3NpdW0hIQ==")
RECEIVER = os.environ.get("WEBHOOK_RECEIVER", "http://127.0.0.1:8001/")

app = Potassium("background", jobs=Jobs(keep_for=3600), webhooks=Webhooks(secret=SECRET))


class Line(BaseModel):
    """Points to fit a line to."""

    x: list[float] = Field(min_length=2, max_length=10_000)
    y: list[float] = Field(min_length=2, max_length=10_000)
    epochs: int = Field(default=200, ge=1, le=100_000)

    @model_validator(mode="after")
    def check_lengths(self) -> "Line":
        if len(self.x) != len(self.y):
            raise ValueError("x and y must have the same length")  # answered with 422
        return self


@app.background("/train", attempts=3)
@app.result_webhook(url=RECEIVER)
def train(cache: dict[str, Any], line: Line) -> dict[str, float | None]:
    """Fit a line to points; numbers are null if that has failed."""
    request = current_request()
    x, y = torch.tensor(line.x)[:, None], torch.tensor(line.y)[:, None]
    model = torch.nn.Linear(1, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    loss = torch.tensor(0.0)
    for epoch in range(line.epochs):
        request.raise_if_cancelled()
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        request.progress((epoch + 1) / line.epochs, f"loss {loss.item():.4f}")
    return {"slope": model.weight.item(), "intercept": model.bias.item(), "loss": loss.item()}


if __name__ == "__main__":
    app.serve()
