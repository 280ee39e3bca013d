"""SNAIL's layers by hand, and that the support set is read once for all queries."""

import math

import pytest
import torch

from maml_cli.readers.causal import Attention, CausalReader, Dense, layers
from maml_cli.readers.sequences import Examples, all_shown


def reach(first_dilation):
    """How far back the last of 20 positions sees through three dense blocks in a row."""
    blocks, width = [], 1
    for i in range(3):
        rate = first_dilation * 2**i
        blocks.append(Dense(name=f"{i}", inputs=width, rate=rate, filters=1))
        width += 1
    weights = {}
    for block in blocks:
        inputs, outputs = block.sizes["convolution"]
        weights[f"{block.name}.convolution.weight"] = torch.full((outputs, inputs), 0.1)
        weights[f"{block.name}.convolution.bias"] = torch.zeros(outputs)

    def last(x):
        x = x.unsqueeze(-1)
        for block in blocks:
            x = block(weights, x, None, all_shown(x))
        return x[-1, -1]

    slopes = torch.func.grad(last)(torch.ones(20))
    return [19 - place for place in slopes.nonzero().flatten().tolist()][::-1]


def test_dilations_from_one_see_every_place_and_from_two_the_even_ones():
    assert reach(1) == list(range(8))
    assert reach(2) == list(range(0, 15, 2))


def test_a_dense_block_by_hand():
    """Tanh and sigmoid of x_t + 2 x_(t-1): for x = 1, 3 they see 1 and then 5."""
    block = Dense(name="0", inputs=1, rate=1, filters=1)
    weights = {
        "0.convolution.weight": torch.tensor([[2.0, 1.0], [2.0, 1.0]]),
        "0.convolution.bias": torch.zeros(2),
    }
    found = block(weights, torch.tensor([[1.0], [3.0]]), None, torch.ones(2, dtype=torch.bool))
    expected = [math.tanh(v) / (1 + math.exp(-v)) for v in (1.0, 5.0)]
    assert found[:, 0].tolist() == [1.0, 3.0]
    assert found[:, 1].tolist() == pytest.approx(expected, abs=1e-6)


def test_attention_by_hand():
    """With zero keys all earlier places weigh the same; a lone first place has weight 1."""
    block = Attention(name="0", inputs=1, keys=4, values=1)
    weights = {f"0.{part}.weight": torch.zeros(4, 1) for part in ("query", "key")}
    weights |= {f"0.{part}.bias": torch.zeros(4) for part in ("query", "key")}
    weights |= {"0.value.weight": torch.ones(1, 1), "0.value.bias": torch.zeros(1)}
    x = torch.tensor([[6.0], [2.0], [1.0]])
    found = block(weights, x, None, torch.ones(3, dtype=torch.bool))
    assert found[:, 1].tolist() == pytest.approx([6.0, 4.0, 3.0])
    query = block(weights, torch.tensor([[3.0], [7.0]]), x, torch.ones(3, dtype=torch.bool))
    assert query[:, 1].tolist() == pytest.approx([3.0, 4.0])  # (6 + 2 + 1 + its own) / 4


def test_attention_is_a_softmax_of_scaled_products():
    block = Attention(name="0", inputs=1, keys=4, values=1)
    weights = {f"0.{part}.weight": torch.ones(4, 1) for part in ("query", "key")}
    weights |= {f"0.{part}.bias": torch.zeros(4) for part in ("query", "key")}
    weights |= {"0.value.weight": torch.ones(1, 1), "0.value.bias": torch.zeros(1)}
    x = torch.tensor([[0.0], [1.0]])  # products 0 and 4, over sqrt(4): 0 and 2
    found = block(weights, x, None, torch.ones(2, dtype=torch.bool))
    assert found[1, 1].item() == pytest.approx(math.exp(2) / (1 + math.exp(2)))


def reader_and_weights(first_dilation=1):
    reader = CausalReader(features=3, ways=2, length=5, filters=4, first_dilation=first_dilation)
    params = reader.init(torch.Generator().manual_seed(0))
    return reader, {n: t.double() for n, t in params.items()}


def sequence(length):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(length, 3, generator=generator, dtype=torch.float64)
    return Examples(x, torch.arange(length) % 2, all_shown(x))


@pytest.mark.parametrize("first_dilation", [1, 2])
def test_an_answer_is_the_last_output_of_the_whole_sequence(first_dilation):
    """Written the long way round: the query as one more position, with a label of zeros."""
    reader, params = reader_and_weights(first_dilation)
    support, query = sequence(6), sequence(8).x[6:]
    found = reader.answer(params, reader.read(params, support, None), query)
    labels = torch.nn.functional.one_hot(support.y, 2).double()
    for one, output in zip(query, found, strict=True):
        x = torch.cat(
            [torch.cat([support.x, labels], 1), torch.cat([one, one.new_zeros(2)]).unsqueeze(0)]
        )
        for layer in reader.layers:
            x = layer(params, x, None, all_shown(x))
        expected = x[-1] @ params["output.weight"].T + params["output.bias"]
        torch.testing.assert_close(output, expected)


def test_no_position_sees_a_later_one():
    reader, params = reader_and_weights()
    one = sequence(6)
    other = one._replace(x=torch.cat([one.x[:4], one.x[4:] + 1]))
    before, after = (reader.read(params, support, None).inputs for support in (one, other))
    for first, second in zip(before, after, strict=True):
        assert torch.equal(first[:4], second[:4])
        assert not torch.equal(first[4:], second[4:])


@pytest.mark.parametrize(("ways", "blocks", "millions"), [(5, 5, 6.22), (20, 7, 10.57)])
def test_the_network_has_the_published_size(ways, blocks, millions):
    """64 features and the label; then 32, T 128, 128, T 128, and 256 more, with T blocks."""
    found = layers(64 + ways, ways * 5 + 1, 128, 1)
    assert sum(isinstance(layer, Dense) for layer in found) == 2 * blocks
    assert found[-1].inputs + found[-1].added == 64 + ways + 416 + 256 * blocks
    reader = CausalReader(
        features=64, ways=ways, length=ways * 5 + 1, filters=128, first_dilation=1
    )
    weights = reader.init(torch.Generator())
    assert sum(t.numel() for t in weights.values()) / 1e6 == pytest.approx(millions, abs=0.005)
