"""Everything torch can save, read back without torch and compared with what torch loads."""

from __future__ import annotations

import copy
import io
import pickle
import warnings
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import paraminspect
import pytest
from paraminspect.readers.named_tensor import NamedTensor

torch: Any = pytest.importorskip("torch")

DTYPES = [
    "float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool",
    "uint16", "uint32", "uint64", "complex64", "complex128", "complex32",
    "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu",
]  # fmt: skip

FORMATS = ["zip", "legacy", "pickle"]


def save(path: Path, value: object, layout: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if layout == "zip":
            torch.save(value, path)
        elif layout == "legacy":
            torch.save(value, path, _use_new_zipfile_serialization=False)
        else:
            path.write_bytes(pickle.dumps(value, protocol=2))


def tensor_of(dtype: str, *shape: int) -> Any:
    kind = getattr(torch, dtype)
    count = int(np.prod(shape))
    if dtype == "float8_e8m0fnu":
        return (torch.arange(count, dtype=torch.int32) % 200 + 3).to(torch.uint8).view(kind).reshape(shape)
    if kind.is_complex:
        values = torch.complex(torch.linspace(-2, 3, count), torch.linspace(1, -4, count))
        return values.reshape(shape).to(kind)
    if kind.is_floating_point:
        return torch.linspace(-3, 5, count).reshape(shape).to(kind)
    if dtype == "bool":
        return (torch.arange(count) % 3 == 0).reshape(shape)
    return torch.arange(count).reshape(shape).to(kind)


def expected_values(tensor: Any) -> np.ndarray[Any, Any]:
    tensor = tensor.detach()
    if tensor.dtype is torch.complex32:
        return np.asarray(tensor.to(torch.complex64).resolve_conj().numpy())
    if str(tensor.dtype).startswith("torch.float8") or tensor.dtype is torch.bfloat16:
        return np.asarray(tensor.to(torch.float32).numpy())
    return np.asarray(tensor.numpy())


def assert_same(row: NamedTensor, tensor: Any) -> None:
    assert row.shape == tuple(tensor.shape)
    assert f"torch.{row.dtype}" == str(tensor.dtype)
    assert row.elements == tensor.numel()
    np.testing.assert_array_equal(row.numpy(), expected_values(tensor))


@pytest.mark.filterwarnings("ignore:ComplexHalf")
@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype(tmp_path: Path, dtype: str, layout: str) -> None:
    path = tmp_path / "model.pt"
    state = {
        "layer.weight": tensor_of(dtype, 5, 7),
        "layer.bias": tensor_of(dtype, 3),
        "scalar": tensor_of(dtype, 1)[0],
    }
    try:
        save(path, state, layout)
    except (AttributeError, KeyError, RuntimeError):
        assert layout != "zip"
        pytest.skip(f"torch itself cannot write {dtype} in the {layout} layout")
    with paraminspect.open(path) as checkpoint:
        assert checkpoint.parameters.names == list(state)
        for name, tensor in state.items():
            assert_same(checkpoint.parameters[name], tensor)


@pytest.mark.parametrize("layout", FORMATS)
def test_views_share_their_storage(tmp_path: Path, layout: str) -> None:
    base = torch.arange(60, dtype=torch.float32).reshape(6, 10)
    state = {
        "whole": base,
        "transposed": base.t(),
        "column": base[:, 3],
        "rows": base[2:4],
        "stepped": base[::2, 1::3],
        "expanded": base[0].expand(1000, 10),
        "empty": base[:0],
    }
    path = tmp_path / "views.pt"
    save(path, state, layout)
    table = paraminspect.open(path).parameters
    for name, tensor in state.items():
        assert_same(table[name], tensor)
    assert table["expanded"].nbytes == 40
    if layout == "pickle":
        return  # pickle.dump writes the storage once for each view
    totals = table.totals()
    assert totals.nbytes == base.numel() * 4
    assert totals.parameters == base.numel()
    assert "transposed" in table["whole"].shared_with


def test_tied_weights_are_counted_once(tmp_path: Path) -> None:
    embedding = torch.randn(50, 8)
    path = tmp_path / "tied.pt"
    torch.save({"embed.weight": embedding, "body.weight": torch.randn(8, 8), "head.weight": embedding}, path)
    table = paraminspect.open(path).parameters
    assert table["head.weight"].shared_with == ["embed.weight"]
    assert table.totals().parameters == 50 * 8 + 64
    assert table.totals().repeated_nbytes == 50 * 8 * 4


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_pickle_protocol(tmp_path: Path, protocol: int) -> None:
    state = OrderedDict([("a.weight", torch.randn(3, 4)), ("a.bias", torch.randn(3))])
    path = tmp_path / "model.pt"
    torch.save(state, path, pickle_protocol=protocol)
    table = paraminspect.open(path).parameters
    for name, tensor in state.items():
        assert_same(table[name], tensor)


def test_parameters_keep_requires_grad(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save(
        {
            "free": torch.nn.Parameter(torch.randn(2)),
            "frozen": torch.nn.Parameter(torch.randn(2), requires_grad=False),
            "plain": torch.randn(2),
        },
        path,
    )
    assert paraminspect.open(path).parameters.trainable == [True, False, None]


class Net(torch.nn.Module):  # type: ignore[misc]
    def __init__(self, scaled: bool = False) -> None:
        super().__init__()
        self.stem = torch.nn.Conv2d(3, 4, 3)
        self.norm = torch.nn.BatchNorm2d(4)
        self.head = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        if scaled:
            self.register_buffer("scale", torch.ones(4))

    def forward(self, x: Any) -> Any:
        return self.head(self.norm(self.stem(x)).mean((2, 3)))


@pytest.mark.parametrize("layout", FORMATS)
def test_whole_module(tmp_path: Path, layout: str) -> None:
    net = Net(scaled=True)
    path = tmp_path / "net.pt"
    save(path, net, layout)
    checkpoint = paraminspect.open(path)
    table = checkpoint.parameters
    state = net.state_dict()
    assert sorted(table.names) == sorted(state)
    for name, tensor in state.items():
        assert_same(table[name], tensor)
    parameters = {name for name, _ in net.named_parameters()}
    buffers = {name for name, _ in net.named_buffers()}
    assert {row.name for row in table if row.section == "model"} == parameters
    assert {row.name for row in table if row.section == "buffer"} == buffers
    assert not any(row.section_is_inferred for row in table)
    assert all(row.trainable for row in table if row.name in parameters)
    modules: Any = checkpoint.hyperparameters["modules"]
    assert modules["stem"]["class"] == "torch.nn.modules.conv.Conv2d"
    assert modules["stem"]["out_channels"] == 4


def test_torchscript(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = Net().eval()
        script = torch.jit.trace(net, torch.randn(1, 3, 8, 8))
        path = tmp_path / "net.jit"
        script.save(str(path))
    checkpoint = paraminspect.open(path)
    assert checkpoint.format == "TorchScript"
    for name, tensor in net.state_dict().items():
        assert_same(checkpoint.parameters[name], tensor)
    assert "program-inside" in {finding.code for finding in checkpoint.findings}


def training_checkpoint(optimizer_class: Any, groups: bool = False) -> tuple[Any, dict[str, Any]]:
    net = Net()
    if groups:
        decay = [p for p in net.parameters() if p.ndim > 1]
        rest = [p for p in net.parameters() if p.ndim <= 1]
        parameters: Any = [{"params": decay, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}]
    else:
        parameters = net.parameters()
    optimizer = optimizer_class(parameters, lr=0.01)
    net(torch.randn(2, 3, 8, 8)).sum().backward()
    optimizer.step()
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 10)
    return net, {
        "epoch": 3,
        "global_step": 1200,
        "model_state_dict": net.state_dict(),
        "optimizer_state_dict": optimizer.state_dict(),
        "lr_scheduler": scheduler.state_dict(),
        "ema": {name: value.clone() for name, value in net.state_dict().items()},
        "args": {"batch_size": 32, "lr": 0.01, "betas": (0.9, 0.999), "name": "run-7"},
        "rng_state": torch.get_rng_state(),
    }


@pytest.mark.parametrize("groups", [False, True])
@pytest.mark.parametrize("layout", ["zip", "legacy"])
def test_training_checkpoint(tmp_path: Path, layout: str, groups: bool) -> None:
    net, saved = training_checkpoint(torch.optim.Adam, groups)
    path = tmp_path / "ckpt.pt"
    save(path, saved, layout)
    checkpoint = paraminspect.open(path)
    table = checkpoint.parameters
    sections = {row.name: str(row.section) for row in table}
    assert sections["model_state_dict.stem.weight"] == "model"
    assert sections["model_state_dict.norm.running_mean"] == "buffer"
    assert sections["ema.stem.weight"] == "ema"
    assert sections["rng_state"] == "other"
    order = [p for p in net.named_parameters() if p[1].ndim > 1] + [
        p for p in net.named_parameters() if p[1].ndim <= 1
    ]
    named = order if groups else list(net.named_parameters())
    for index, (name, parameter) in enumerate(named):
        row = table[f"optimizer_state_dict.state.{index}.exp_avg"]
        assert row.section == "optimizer"
        assert row.shape == tuple(parameter.shape)
        assert row.owner == f"model_state_dict.{name}"
        assert_same(row, saved["optimizer_state_dict"]["state"][index]["exp_avg"])
    assert checkpoint.progress["epoch"] == 3
    assert checkpoint.progress["global_step"] == 1200
    settings: Any = checkpoint.hyperparameters
    assert settings["args"]["batch_size"] == 32
    assert settings["args"]["betas"] == [0.9, 0.999]
    assert settings["optimizer_state_dict"]["param_groups"][0]["lr"] == 0.01
    assert settings["lr_scheduler"]["step_size"] == 10
    model = table.filter(section="model").totals()
    assert model.parameters == sum(p.numel() for p in net.parameters())


def test_param_names_are_believed(tmp_path: Path) -> None:
    net = Net()
    optimizer = torch.optim.SGD(list(net.named_parameters())[::-1], lr=0.1, momentum=0.9)
    net(torch.randn(2, 3, 8, 8)).sum().backward()
    optimizer.step()
    path = tmp_path / "ckpt.pt"
    torch.save({"model": net.state_dict(), "optimizer": optimizer.state_dict()}, path)
    table = paraminspect.open(path).parameters
    names = [name for name, _ in net.named_parameters()][::-1]
    owners = [table[f"optimizer.state.{index}.momentum_buffer"].owner for index in range(len(names))]
    assert owners == [f"model.{name}" for name in names]


def test_an_order_that_does_not_fit_gives_no_owner(tmp_path: Path) -> None:
    net = Net()
    optimizer = torch.optim.Adam(list(net.parameters())[::-1], lr=0.1)
    net(torch.randn(2, 3, 8, 8)).sum().backward()
    optimizer.step()
    path = tmp_path / "ckpt.pt"
    torch.save({"model": net.state_dict(), "optimizer": optimizer.state_dict()}, path)
    assert not any(paraminspect.open(path).parameters.owners)


def test_lightning_checkpoint(tmp_path: Path) -> None:
    net, saved = training_checkpoint(torch.optim.AdamW)
    path = tmp_path / "last.ckpt"
    torch.save(
        {
            "epoch": 4,
            "global_step": 99,
            "pytorch-lightning_version": "2.4.0",
            "state_dict": net.state_dict(),
            "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"current": {"ready": 5}}}},
            "callbacks": {"ModelCheckpoint{'monitor': None}": {"best_model_path": "x.ckpt"}},
            "optimizer_states": [saved["optimizer_state_dict"]],
            "lr_schedulers": [saved["lr_scheduler"]],
            "hparams_name": "kwargs",
            "hyper_parameters": {"hidden": 64, "lr": 0.01},
        },
        path,
    )
    checkpoint = paraminspect.open(path)
    table = checkpoint.parameters
    assert table["optimizer_states.0.state.0.exp_avg"].owner == "state_dict.stem.weight"
    assert checkpoint.progress["epoch"] == 4
    settings: Any = checkpoint.hyperparameters
    assert settings["hyper_parameters"] == {"hidden": 64, "lr": 0.01}
    assert settings["lr_schedulers"][0]["step_size"] == 10
    assert checkpoint.metadata["pytorch-lightning_version"] == "2.4.0"
    metadata: Any = checkpoint.metadata
    assert metadata["loops"]["fit_loop"]["epoch_progress"]["current"]["ready"] == 5


def test_quantised_tensors(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole = torch.quantize_per_tensor(torch.randn(4, 6), 0.1, 3, torch.qint8)
        channels = torch.quantize_per_channel(
            torch.randn(4, 6), torch.rand(4) + 0.1, torch.zeros(4, dtype=torch.int64), 0, torch.quint8
        )
        small = torch.quantize_per_channel(
            torch.rand(4, 8), torch.rand(4) + 0.1, torch.zeros(4), 0, torch.quint4x2
        )
        path = tmp_path / "q.pt"
        torch.save({"whole": whole, "channels": channels, "small": small}, path)
    table = paraminspect.open(path).parameters
    np.testing.assert_array_equal(table["whole"].numpy(), whole.int_repr().numpy())
    assert table["whole"].data.quantization == {"scheme": "per_tensor_affine", "scale": 0.1, "zero_point": 3}
    np.testing.assert_array_equal(table["channels"].numpy(), channels.int_repr().numpy())
    np.testing.assert_array_equal(table["channels.scales"].numpy(), channels.q_per_channel_scales().numpy())
    assert table["small"].shape == (4, 8)
    assert table["small"].nbytes == 16


def test_sparse_tensors_are_listed_with_their_parts(tmp_path: Path) -> None:
    dense = torch.zeros(4, 5)
    dense[1, 2], dense[3, 4] = 7.0, -1.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = tmp_path / "s.pt"
        torch.save({"coo": dense.to_sparse(), "csr": dense.to_sparse_csr()}, path)
    table = paraminspect.open(path).parameters
    assert table["coo"].shape == (4, 5)
    assert table["coo"].nbytes == 0
    assert table["coo"].dtype.name == "float32"
    np.testing.assert_array_equal(table["coo.values"].numpy(), [7.0, -1.0])
    np.testing.assert_array_equal(table["csr.col_indices"].numpy(), [2, 4])
    with pytest.raises(paraminspect.NoValues):
        table["coo"].numpy()


def test_meta_tensors_have_a_shape_and_no_bytes(tmp_path: Path) -> None:
    path = tmp_path / "meta.pt"
    torch.save({"w": torch.empty(1000, 1000, device="meta")}, path)
    row = paraminspect.open(path).parameters["w"]
    assert (row.shape, row.nbytes, row.elements) == ((1000, 1000), 0, 1_000_000)
    with pytest.raises(paraminspect.NoValues, match="meta device"):
        row.numpy()


def test_skipped_data_is_told(tmp_path: Path) -> None:
    path = tmp_path / "skipped.pt"
    with torch.serialization.skip_data():
        torch.save({"w": torch.ones(100)}, path)
    codes = {finding.code for finding in paraminspect.open(path).findings}
    assert "storage-never-written" in codes


def test_conjugated_and_negated_views(tmp_path: Path) -> None:
    path = tmp_path / "lazy.pt"
    numbers = torch.randn(3, 2, dtype=torch.complex64)
    tensors = {"conj": numbers.conj(), "neg": numbers.clone().conj().imag, "both": numbers.clone().conj().t()}
    assert tensors["conj"].is_conj() and tensors["neg"].is_neg()
    torch.save(tensors, path)
    with paraminspect.open(path) as checkpoint:
        for name, tensor in tensors.items():
            row = checkpoint.parameters[name]
            expected = tensor.resolve_conj().resolve_neg().numpy()
            np.testing.assert_array_equal(row.numpy(), expected)
            assert row.nbytes == expected.nbytes
        stored = np.concatenate([block.copy() for block in checkpoint.parameters["conj"].blocks()])
        np.testing.assert_array_equal(stored, tensors["conj"].resolve_conj().numpy().ravel())


def test_float4_pairs_have_their_logical_shape(tmp_path: Path) -> None:
    packed = torch.arange(12, dtype=torch.uint8).reshape(3, 4).view(torch.float4_e2m1fn_x2)
    path = tmp_path / "f4.pt"
    torch.save({"w": packed}, path)
    row = paraminspect.open(path).parameters["w"]
    assert (row.shape, row.nbytes, str(row.dtype)) == ((3, 8), 12, "float4_e2m1fn")


class Marked(torch.Tensor):  # type: ignore[misc]
    pass


def test_subclasses_and_tensors_with_attributes(tmp_path: Path) -> None:
    marked = torch.randn(3, 4).as_subclass(Marked)
    tagged = torch.randn(2)
    tagged.origin = "here"
    path = tmp_path / "sub.pt"
    torch.save({"marked": marked, "tagged": tagged}, path)
    table = paraminspect.open(path).parameters
    np.testing.assert_array_equal(table["marked"].numpy(), marked.as_subclass(torch.Tensor).numpy())
    np.testing.assert_array_equal(table["tagged"].numpy(), tagged.numpy())


def test_numpy_arrays_in_a_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "np.pt"
    arrays = {
        "c": np.arange(12.0).reshape(3, 4),
        "f": np.asfortranarray(np.arange(6, dtype=">i4").reshape(2, 3)),
    }
    torch.save({"arrays": arrays, "t": torch.ones(2)}, path)
    table = paraminspect.open(path).parameters
    for name, array in arrays.items():
        np.testing.assert_array_equal(table[f"arrays.{name}"].numpy(), array)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_numpy_arrays_in_plain_pickles(tmp_path: Path, protocol: int) -> None:
    arrays = {
        "c": np.linspace(-1, 1, 30_000).reshape(300, 100),
        "f": np.asfortranarray(np.arange(6, dtype=np.int16).reshape(2, 3)),
        "small": np.array([1.5, -2.5], np.float32),
    }
    path = tmp_path / "arrays.pkl"
    path.write_bytes(pickle.dumps(arrays, protocol=protocol))
    table = paraminspect.open(path).parameters
    assert table.names == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(table[name].numpy(), array)


def test_a_tensor_alone(tmp_path: Path) -> None:
    path = tmp_path / "one.pt"
    torch.save(torch.arange(5), path)
    table = paraminspect.open(path).parameters
    assert table.names == ["tensor"]
    np.testing.assert_array_equal(table[0].numpy(), np.arange(5))


def test_lists_tuples_and_nested_names(tmp_path: Path) -> None:
    path = tmp_path / "nested.pt"
    torch.save({"a": [torch.ones(1), (torch.ones(2), {"b.c": torch.ones(3)})], 5: torch.ones(4)}, path)
    table = paraminspect.open(path).parameters
    assert table.names == ["a.0", "a.1.0", "a.1.1.b.c", "5"]
    assert table[2].path == ("a", 1, 1, "b.c")
    assert table[("a", 1, 1, "b.c")].shape == (3,)


def test_random_access_reads_only_what_is_asked(tmp_path: Path) -> None:
    path = tmp_path / "big.pt"
    torch.save({"a": torch.arange(300_000, dtype=torch.float32)}, path)
    row = paraminspect.open(path).parameters["a"]
    blocks = [block.copy() for block in row.blocks(1 << 16)]
    assert max(block.nbytes for block in blocks) <= 1 << 16
    np.testing.assert_array_equal(np.concatenate(blocks), np.arange(300_000, dtype=np.float32))


def test_distributed_checkpoint(tmp_path: Path) -> None:
    dcp = pytest.importorskip("torch.distributed.checkpoint")
    net, saved = training_checkpoint(torch.optim.Adam)
    state = {
        "model": net.state_dict(),
        "optimizer": saved["optimizer_state_dict"],
        "epoch": 3,
        "t": torch.randn(4, 6).t(),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dcp.save(state, checkpoint_id=str(tmp_path / "dcp"))
    checkpoint = paraminspect.open(tmp_path / "dcp")
    table = checkpoint.parameters
    for name, tensor in net.state_dict().items():
        assert_same(table[f"model.{name}"], tensor)
    assert_same(table["t"], state["t"])
    assert table["optimizer.state.0.exp_avg"].section == "optimizer"
    assert checkpoint.progress["epoch"] == 3


def test_in_memory_buffers_keep_their_root(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save({"w": torch.ones(2)}, buffer)
    path = tmp_path / "my model.v1.pt"
    path.write_bytes(buffer.getvalue())
    assert paraminspect.open(path).parameters.names == ["w"]


def saved(tmp_path: Path, content: object) -> paraminspect.Checkpoint:
    path = tmp_path / "saved.pt"
    torch.save(content, path)
    return paraminspect.open(path)


def model_parameters(checkpoint: paraminspect.Checkpoint) -> int:
    return checkpoint.parameters.filter(section="model").totals().parameters


def test_a_module_under_ema_is_no_second_model(tmp_path: Path) -> None:
    net = torch.nn.Linear(4, 3)
    checkpoint = saved(tmp_path, {"model": net, "ema": copy.deepcopy(net)})
    assert model_parameters(checkpoint) == 15
    assert checkpoint.parameters.filter(section="ema").totals().parameters == 15


def test_an_average_inside_a_state_dict_is_no_second_model(tmp_path: Path) -> None:
    state = {"model.w": torch.ones(5, 5), "model_ema.w": torch.ones(5, 5)}
    assert model_parameters(saved(tmp_path, {"state_dict": state})) == 25


def test_parameters_may_be_called_almost_anything(tmp_path: Path) -> None:
    names = ("random_tokens", "optimal_scale", "scaler_weight", "encoder.weight")
    assert model_parameters(saved(tmp_path, {name: torch.ones(4) for name in names})) == 16
    checkpoint = saved(tmp_path, {"w": torch.ones(2), "torch_rng_state": torch.get_rng_state()})
    assert model_parameters(checkpoint) == 2


def test_no_owner_is_claimed_where_two_are_possible(tmp_path: Path) -> None:
    head, body = torch.nn.Linear(3, 3), torch.nn.Linear(3, 3)
    model = torch.nn.Sequential(body, head)
    optimizer = torch.optim.Adam([{"params": head.parameters()}, {"params": body.parameters()}])
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    checkpoint = saved(tmp_path, {"model": model.state_dict(), "optimizer": optimizer.state_dict()})
    assert not any(checkpoint.parameters.owners)
    named = torch.optim.Adam(model.named_parameters())
    model(torch.ones(1, 3)).sum().backward()
    named.step()
    content = {"model": model.state_dict(), "model_ema": model.state_dict(), "optimizer": named.state_dict()}
    owners = {owner for owner in saved(tmp_path, content).parameters.owners if owner}
    assert owners <= {f"model.{name}" for name in model.state_dict()}
