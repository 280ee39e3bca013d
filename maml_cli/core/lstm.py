"""One step of an LSTM, for any gates: those of a sequence, or of the coordinates of a gradient."""

from torch import Tensor


def lstm_step(gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """Hidden and cell state `(..., units)` from the inputs of the gates `(..., 4 units)`.

    `c <- sigmoid(f) c + sigmoid(i) tanh(g)` and `h = sigmoid(o) tanh(c)`, where the gates are i, f,
    o and g in a row. Without peepholes. Source: Gers, Schmidhuber & Cummins 2000.
    """
    enter, forget, leave, candidate = gates.chunk(4, -1)
    cell = forget.sigmoid() * cell + enter.sigmoid() * candidate.tanh()
    return leave.sigmoid() * cell.tanh(), cell
