"""A recording's file: line by line, whole or not at all, and never over another one by mistake."""

from pathlib import Path

import pytest

from hydra_notify_sim import errors, history
from hydra_notify_sim.exploration.capture.recording import NotWrittenError, Recording

HEADER = history.Header(name="tape", tap=True)
GAP = history.Gap(t=2.0, since=1.0)


def test_what_was_written_is_there_before_it_is_closed(tmp_path: Path) -> None:
    file = tmp_path / "tape.jsonl"
    with Recording(file, HEADER, overwrite=False) as recording:
        recording.write([GAP, GAP])
        assert list(history.SavedHistory(file)) == [GAP, GAP]
        recording.write([history.Closed(t=3.0)])
    assert recording.counts == {"gap": 2, "closed": 1}


def test_a_file_that_is_there_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "tape.jsonl"
    file.write_text("precious")
    with pytest.raises(errors.UsageError, match="exists"):
        Recording(file, HEADER, overwrite=False)
    assert file.read_text() == "precious"
    Recording(file, HEADER, overwrite=True).close()
    assert not list(history.SavedHistory(file))


def test_a_disk_that_fills_up_is_told_with_what_was_kept(tmp_path: Path) -> None:
    recording = Recording(tmp_path / "tape.jsonl", HEADER, overwrite=False)
    recording.write([GAP])
    recording._file.close()
    recording._file = Path("/dev/full").open("wb")  # noqa: SIM115 - closed with the recording
    with pytest.raises(NotWrittenError, match=r"after 1 records, which are in it: No space left.*Make room"):
        recording.write([GAP])
    recording.close()
    assert list(history.SavedHistory(tmp_path / "tape.jsonl")) == [GAP]


def test_a_line_that_a_kill_cut_off_is_left_out_of_a_recording_and_refused_in_a_run(tmp_path: Path) -> None:
    file = tmp_path / "tape.jsonl"
    with Recording(file, HEADER, overwrite=False) as recording:
        recording.write([GAP, GAP])
    file.write_bytes(file.read_bytes()[:-5])
    assert list(history.SavedHistory(file)) == [GAP]
    file.write_text(file.read_text().replace('"tap":true', '"tap":false'))
    with pytest.raises(history.HistoryFileError, match="cut off"):
        list(history.SavedHistory(file))
