"""A set as a folder that `datasets.load_dataset(FOLDER)` reads, and on the Hugging Face hub."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from decoct.compact.compact_set import CompactSet
from decoct.compact.new_folder import write_new_folder
from decoct.compact.stored import readable
from decoct.compact.table import arrow_table
from decoct.errors import MissingExtraError, OutputError

DATA_FILE = "data/train-00000-of-00001.parquet"
ORIGIN = {"id": ("string", pa.string()), "rank": ("int64", pa.int64()), "score": ("float32", pa.float32()),
          "reason": ("string", pa.string())}  # fmt: skip
"""Columns that a coreset has beside the others, with their types in `datasets` and Arrow."""


def write_hub(small: CompactSet, path: Path) -> None:
    """Write `data/train-00000-of-00001.parquet` and a card, `README.md`; the folder must be new or empty.

    Raises `OutputError`; on failure nothing is left.
    """

    def fill(folder: Path) -> None:
        buffer = io.BytesIO()
        pq.write_table(hub_table(small), buffer)
        (folder / "data").mkdir()
        (folder / DATA_FILE).write_bytes(buffer.getvalue())
        (folder / "README.md").write_bytes(hub_card(small).encode("utf-8", "replace"))

    write_new_folder(path, fill)


def push_to_hub(folder: Path | str, name: str, *, private: bool = True, token: str | None = None) -> str:
    """Upload a folder that `write_hub` wrote as the data set `name` ("user/name") and return its address.

    `token` is by default the one that `hf auth login` left. Raises `MissingExtraError` without `huggingface_hub`,
    `OutputError` where the hub refuses or cannot be reached; what was uploaded before stays there.
    """
    try:
        from huggingface_hub import HfApi
    except ImportError as error:
        raise MissingExtraError(
            f"pushing a set to the hub as {name}",
            received=f"{type(error).__name__}: {error}",
            expected="the package 'huggingface_hub'",
            remedy="pip install 'decoct[hf]'",
        ) from error
    try:
        hub = HfApi(token=token)
        address = hub.create_repo(name, repo_type="dataset", private=private, exist_ok=True)
        hub.upload_folder(
            repo_id=name, repo_type="dataset", folder_path=str(folder), commit_message="A set made by decoct"
        )
    except Exception as error:  # The library and its HTTP client raise errors of many unrelated types.
        text = " ".join(str(error).split()) or type(error).__name__
        raise OutputError(
            f"pushing a set to the hub as {name}",
            received=f"{type(error).__name__}: {text[:300]}",
            expected="a hub that takes the folder",
            remedy="check the name ('user/name'), the connection and your token ('hf auth login'); the folder "
            f"{folder} is whole and can be pushed again",
        ) from error
    return str(address)


def hub_table(small: CompactSet) -> pa.Table:
    """`arrow_table`, and for coresets id, rank, score and reason of every row."""
    table, own = arrow_table(small), small.table
    if own is None:
        return table
    head = json.loads(table.schema.metadata[b"huggingface"])
    for name, (dtype, kind) in ORIGIN.items():
        values = [readable(text) for text in own[name]] if dtype == "string" else own[name]
        table = table.append_column(name, pa.array(values, kind))
        head["info"]["features"][name] = {"dtype": dtype, "_type": "Value"}
    return table.replace_schema_metadata({"huggingface": json.dumps(head)})


def hub_card(small: CompactSet) -> str:
    """The card: what `datasets` and the hub need to know, in YAML, and where the rows come from."""
    spec, kind = small.spec, "coreset" if small.table is not None else "distilled set"
    task = "image-classification" if spec.is_image else "tabular-classification"
    head: dict[str, Any] = {
        "pretty_name": f"{spec.source}, made small",
        "tags": ["decoct", "coreset" if small.table is not None else "dataset-distillation"],
        "task_categories": [task],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": "data/train-*"}]}],
    }
    # A JSON text is a YAML text, so names from outside cannot break out of it.
    yaml = "\n".join(f"{name}: {json.dumps(value)}" for name, value in head.items())
    made = json.dumps(small.provenance, indent=1, default=str).replace("```", "` ` `")
    return (
        f"---\n{yaml}\n---\n\n# A {kind} of {len(small)} rows in {len(spec.class_names)} classes\n\n"
        "Read it with `datasets.load_dataset(FOLDER_OR_NAME, split='train')`; train on it with the column `weight` as "
        f"the weight of each row's loss.\n\nSource fingerprint: `{spec.fingerprint}`. How it was made:\n\n"
        f"```json\n{made}\n```\n"
    )
