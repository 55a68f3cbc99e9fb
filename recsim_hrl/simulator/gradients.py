"""Gradients of a fit, found in two halves of each batch that a second process can share.

The tensors of a batch are small: a second thread inside each operation mostly waits, a second process does not. Every
batch is cut in the same two halves whether one process takes both or two take one each, so the fitted model is the
same bit for bit. The second process is sent what it works on, half a batch at a time, and never holds the log.
"""

import signal
from dataclasses import asdict
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Self

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from recsim_hrl.simulator.response import ResponseModel
from recsim_hrl.simulator.sequences import Sequences, SessionBatch
from recsim_hrl.simulator.session_model import SessionModel
from recsim_hrl.simulator.weights import ResponseConfig

PROCESSES = (1, 2)


def session_loss(model: SessionModel, embeddings: Tensor, batch: SessionBatch) -> Tensor:
    """Sum of the negative log-likelihoods of a batch's impressions."""
    logits = model.session_logits(embeddings[batch.items], batch.responses, batch.present, batch.border)
    losses = nn.functional.cross_entropy(logits.flatten(0, 1), batch.targets.flatten(), reduction="none")
    return losses @ batch.weights.flatten()


class Gradients:
    """Finds the gradients of a model's losses; a context manager, as it may hold a process.

    Args:
        model: Its parameters receive the gradients.
        embeddings: (I, D) of the catalogue.
        sequences: The sessions.
        processes: 1 or 2. With 2, a script that fits must do so under ``if __name__ == "__main__":``.
    """

    def __init__(self, model: SessionModel, embeddings: Tensor, sequences: Sequences, processes: int = 1) -> None:
        if processes not in PROCESSES:
            raise ValueError(f"fit processes: got {processes}, allowed 1 or 2")
        if processes == 2 and not isinstance(model, ResponseModel):
            raise ValueError(f"fit processes: got 2 for a {type(model).__name__}, allowed 1; pass processes=1")
        self.model, self.embeddings, self.sequences = model, embeddings, sequences
        self.parameters = _learned(model)
        self._helper: Connection | None = None
        if processes == 2:
            self._begin_helper()

    def _begin_helper(self) -> None:
        context = get_context("spawn")
        self._helper, other = context.Pipe()
        arguments = (other, asdict(self.model.config), self.embeddings.numpy())
        self._process = context.Process(target=_help, args=arguments, daemon=True)
        self._process.start()
        other.close()  # so that the end of the process is the end of the pipe

    def __enter__(self) -> Self:
        self._limits = threadpool_limits(1)
        return self

    def __exit__(self, *_: object) -> None:
        self._limits.restore_original_limits()
        if self._helper is not None:
            self._helper.close()  # which ends the process
            self._process.join()

    def descend(self, sessions: np.ndarray) -> float:
        """Give the parameters the gradient of the mean loss per impression of ``sessions`` (B,); returns its sum."""
        shares = sessions[0::2], sessions[1::2]
        batches = [self.sequences.batch(share) if len(share) else None for share in shares]
        if self._helper is None:
            found = [_gradient(self.model, self.embeddings, batch) for batch in batches]
        else:
            found = self._in_parallel(*batches)
        (loss, gradient), (other_loss, other_gradient) = found
        gradient = (gradient + other_gradient) / int(self.sequences.lengths[sessions].sum())
        sizes = [parameter.numel() for parameter in self.parameters]
        for parameter, part in zip(self.parameters, torch.from_numpy(gradient).split(sizes), strict=True):
            parameter.grad = part.view_as(parameter)
        return loss + other_loss

    def _in_parallel(self, mine: SessionBatch | None, other: SessionBatch | None) -> list[tuple[float, np.ndarray]]:
        weights = nn.utils.parameters_to_vector(self.parameters).detach().numpy()
        try:
            self._helper.send((other and other.to_arrays(), weights))
            return [_gradient(self.model, self.embeddings, mine), self._helper.recv()]
        except (EOFError, ConnectionError) as error:
            raise ChildProcessError(
                "fit: the second process has ended, killed or for want of memory; start the fit again, which goes on "
                "after the last whole pass, or use one process"
            ) from error


def _learned(model: SessionModel) -> list[nn.Parameter]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def _gradient(model: SessionModel, embeddings: Tensor, batch: SessionBatch | None) -> tuple[float, np.ndarray]:
    """Sum of the losses of a ``batch``, None for one without sessions, and its gradient as one vector."""
    parameters = _learned(model)
    if batch is None:
        return 0.0, np.zeros(sum(parameter.numel() for parameter in parameters), np.float32)
    loss = session_loss(model, embeddings, batch)
    gradients = torch.autograd.grad(loss, parameters)
    return float(loss.detach()), nn.utils.parameters_to_vector(gradients).numpy()


def _help(pipe: Connection, config: dict, embeddings: np.ndarray) -> None:
    """The second process: answers with the gradient of what it is sent, until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the first process, whose end is the end of this one
    threadpool_limits(1)
    model = ResponseModel(ResponseConfig(**config)).train()
    while True:
        try:
            arrays, weights = pipe.recv()
        except (EOFError, ConnectionError):
            return
        nn.utils.vector_to_parameters(torch.from_numpy(weights), model.parameters())
        pipe.send(_gradient(model, torch.from_numpy(embeddings), arrays and SessionBatch.of_arrays(*arrays)))
