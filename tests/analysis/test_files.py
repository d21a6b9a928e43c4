"""Tables in three formats, and nobody ever sees half a file."""

import pandas as pd
import pytest

from hierarchical_twin.analysis.files import write_table, written_whole
from hierarchical_twin.errors import TwinError

READERS = {".csv": pd.read_csv, ".parquet": pd.read_parquet, ".json": pd.read_json}


@pytest.mark.parametrize("suffix", READERS)
def test_tables_come_back(fit, tmp_path, suffix):
    frame = fit.intervals()
    path = write_table(frame, tmp_path / f"intervals{suffix}")
    found = READERS[suffix](path)
    pd.testing.assert_frame_equal(found, frame, rtol=1e-12, check_dtype=False)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_unknown_suffix(fit, tmp_path):
    with pytest.raises(TwinError, match=r"did you mean '\.parquet'"):
        write_table(fit.intervals(), tmp_path / "intervals.parqet")


def test_missing_folder(fit, tmp_path):
    with pytest.raises(TwinError, match="a folder that does not exist"):
        write_table(fit.intervals(), tmp_path / "nowhere" / "intervals.csv")


def test_failure_keeps_what_was_there(tmp_path):
    path = tmp_path / "result.csv"
    path.write_text("old")
    with pytest.raises(RuntimeError), written_whole(path) as partial:
        partial.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
