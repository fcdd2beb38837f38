"""Files that are no scenarios, by accident or on purpose, end in a clear error and at once."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from hydra_notify_sim.scenario import ScenarioFileError, load, load_all

Complaints = Callable[[str], list[tuple[int, int, str, str]]]

HOSTILE = {
    "empty": (b"", "the file is empty"),
    "only a comment": (b"# nothing\n", "the file is empty"),
    "a list": (b"- a\n- b\n", "a scenario is a mapping"),
    "a word": (b"hello", "a scenario is a mapping"),
    "two documents": (b"a: 1\n---\nb: 2\n", ":2:1: a second document begins here"),
    "a tab": (b"scenario: x\nstory:\n\t- settle\n", ":3:1: a tab; YAML is indented with spaces"),
    "utf-16": ("scenario: x".encode("utf-16"), "UTF-16"),
    "latin-1": (b"scenario: x\nwhy: \xe9t\xe9\n", ":2:6: the file is not UTF-8"),
    "a NUL": (b"scenario: x\x00\n", ":1:12: a character that belongs in no text (U+0000)"),
    "an escaped NUL": (b'scenario: "x\\0"\n', ":1:11: a NUL character"),
    "a lone surrogate": (b'scenario: "\\ud800"\n', ":1:11: a NUL character or half"),
    "an alias": (b"a: &x 1\nb: *x\n", ":1:4: anchors and aliases"),
    "a dangling alias": (b"b: *x\n", ":1:4: anchors and aliases"),
    "an alias bomb": (
        b"a: &a [x,x]\n" + b"".join(b"%c: &%c [*%c,*%c]\n" % (c + 1, c + 1, c, c) for c in range(97, 120)),
        ":1:4: anchors and aliases",
    ),
    "a tag": (b"a: !!python/object:os.system x\n", ":1:4: tags"),
    "a tagged document": (b"!!set {a, b}\n", "tags"),
    "a directive": (b"%TAG ! tag:example.com,2026:\n---\na: 1\n", "no %TAG"),
    "yaml 1.1": (b"%YAML 1.1\n---\na: 1\n", "YAML 1.2"),
    "deep lists": (b"[" * 100_000, "lists and mappings inside each other"),
    "deep mappings": (b"{a: " * 50_000, "lists and mappings inside each other"),
    "deep blocks": (b"- " * 50_000, "lists and mappings inside each other"),
    "unclosed": (b"scenario: [a, b\n", "not YAML"),
    "a bad escape": (b'scenario: "\\q"\n', "not YAML"),
    "colon in a text": (b"why: this: that\n", ":1:10: not YAML"),
    "a key that is a list": (b"[a]: 1\n", "a key is a word"),
    "a key that is nothing": (b": 1\n", "a key is a word"),
    "a huge number": (b"scenario: " + b"9" * 5000 + b"\n", "so many digits"),
    "too large": (b"#" * 300_000, "the file has 300,000 bytes; a scenario has at most 262,144"),
    "many keys": (b"".join(b"k%d: 1\n" % n for n in range(5_000)), "more"),
    "a merge": (b"<<: {a: 1}\n", "unknown key '<<'"),
    "a carriage return": (b"scenario: x\r\nwhi: y\r\n", ":2:1: whi: unknown key 'whi'. Did you mean 'why'?"),
}


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_a_hostile_file_is_refused_with_a_sentence(tmp_path: Path, name: str) -> None:
    content, message = HOSTILE[name]
    file = tmp_path / "x.yaml"
    file.write_bytes(content)
    with pytest.raises(ScenarioFileError) as caught:
        load(file)
    assert message in str(caught.value)


def test_what_is_no_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "dangling.yaml").symlink_to(tmp_path / "nowhere")
    (tmp_path / "directory.yaml").mkdir()
    with pytest.raises(ScenarioFileError) as caught:
        load_all([tmp_path])
    text = str(caught.value)
    assert "pipe.yaml: this is not a file." in text
    assert "dangling.yaml: there is no such file" in text
    assert "directory.yaml: this is not a file." in text


def test_too_many_builds_are_refused_before_they_are_counted_out(complaints: Complaints, head: str) -> None:
    found = complaints(head.replace("copies: 3", "copies: 5000, needs: [kernel]") + "  - settle\n")
    assert [each[2] for each in found] == ["given"]
    assert "too many builds" in found[0][3]


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path, example: str) -> None:
    (tmp_path / "x.yaml").write_bytes(b"\xef\xbb\xbf" + example.encode())
    assert load(tmp_path / "x.yaml").story[0].line > 1


def test_all_files_of_a_directory_are_read(tmp_path: Path, example: str) -> None:
    for number in range(40):
        (tmp_path / f"{number}.yaml").write_text(example)
    assert len(load_all([tmp_path])) == 40
