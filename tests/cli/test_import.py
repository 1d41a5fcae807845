"""`decoct import`, then `decoct evaluate`: a foreign set judged beside the baselines."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from toys import blob_images

from decoct.cli.main import main


def test_a_published_file_is_imported_and_judged(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = blob_images(classes=3, per_class=20)
    np.savez(tmp_path / "blobs.npz", x=data.train.x, y=data.train.y)
    source = f"npz:{tmp_path / 'blobs.npz'}"
    images, labels = torch.from_numpy(data.train.x[:6]), torch.from_numpy(data.train.y[:6])
    torch.save({"data": [[images.float() / 255, labels]]}, tmp_path / "res_theirs.pt")
    out = tmp_path / "theirs"
    line = ["import", str(tmp_path / "res_theirs.pt"), "--data", source, "--out", str(out)]
    assert main(line) == 2
    assert "the name of their scale" in capfd.readouterr().err
    assert not out.exists()
    assert main([*line, "--scale", "unit"]) == 0
    said = capfd.readouterr().out
    assert "res_theirs, 6 rows with hard labels" in said
    assert "assumed: class numbers" in said
    again = ["import", str(tmp_path / "res_theirs.pt"), "--data", source, "--out", str(tmp_path / "again"), "--json"]
    assert main([*again, "--scale", "unit"]) == 0
    told = json.loads(capfd.readouterr().out)
    assert (told["name"], told["rows"], told["out"]) == ("res_theirs", 6, str(tmp_path / "again"))
    assert main(["evaluate", str(out), "--data", source, "--networks", "mlp", "--seeds", "1", "--baselines", "random",
                 "--json"]) == 0  # fmt: skip
    card = json.loads(capfd.readouterr().out)
    assert [entry["name"] for entry in card["entries"]] == ["res_theirs", "random"]
