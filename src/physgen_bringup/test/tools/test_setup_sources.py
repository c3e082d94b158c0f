# SPDX-License-Identifier: Apache-2.0
"""Set-up finds Debian's own mirror among whatever apt sources a machine has."""

from pathlib import Path

from physgen_setup.apt_sources import debian_mirrors, parse_deb822, parse_one_line, read_sources
from physgen_setup.lavapipe import mesa_version, private_apt_configuration

DEB822 = """\
Types: deb deb-src
# a comment inside
URIs: http://mirror.example/debian
Suites: bookworm
  bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main

Enabled: no
Types: deb
URIs: http://off.example/debian
Suites: bookworm
Components: main
"""
ONE_LINE = """\
# deb http://comment.example/debian bookworm main
deb-src http://source.example/debian bookworm main
deb http://classic.example/debian bookworm main contrib # trailing words
deb [arch=amd64 signed-by=/etc/apt/keyrings/docker.gpg] https://docker.example/linux/debian bookworm stable
deb [signed-by=/etc/apt/keyrings/media.gpg] https://media.example/debian bookworm main
"""


def test_deb822_gives_one_source_per_uri_and_suite() -> None:
    sources = parse_deb822(DEB822)
    assert [(s.uri, s.suite) for s in sources] == [
        ("http://mirror.example/debian", "bookworm"),
        ("http://mirror.example/debian", "bookworm-updates"),
        ("http://mirror.example/debian-security", "bookworm-security"),
    ]
    assert sources[0].signed_by.endswith("debian-archive-keyring.gpg")


def test_one_line_skips_comments_and_source_code() -> None:
    sources = parse_one_line(ONE_LINE)
    assert [s.uri for s in sources] == [
        "http://classic.example/debian",
        "https://docker.example/linux/debian",
        "https://media.example/debian",
    ]
    assert sources[0].components == ("main", "contrib")
    assert sources[1].signed_by == "/etc/apt/keyrings/docker.gpg"


def test_only_debians_own_archives_count() -> None:
    """A third party's archive of the same suite name must not be asked for Debian's packages."""
    sources = parse_one_line(ONE_LINE) + parse_deb822(DEB822)
    assert debian_mirrors(sources, "bookworm") == [
        "http://classic.example/debian",
        "http://mirror.example/debian",
    ]


def test_mirror_list_files_are_kept_as_they_are() -> None:
    sources = parse_deb822(
        "Types: deb\nURIs: mirror+file:///etc/apt/mirrors/debian.list\nSuites: bookworm\nComponents: main\n"
    )
    assert debian_mirrors(sources, "bookworm") == ["mirror+file:///etc/apt/mirrors/debian.list"]


def test_both_forms_are_read_from_a_machine(tmp_path: Path) -> None:
    folder = tmp_path / "sources.list.d"
    folder.mkdir()
    (tmp_path / "sources.list").write_text(ONE_LINE)
    (folder / "debian.sources").write_text(DEB822)
    (folder / "notes.txt").write_text("deb http://ignored.example/debian bookworm main\n")
    assert len(read_sources(tmp_path)) == 6


def test_a_machine_without_sources_has_no_mirror(tmp_path: Path) -> None:
    assert debian_mirrors(read_sources(tmp_path), "bookworm") == []


def test_private_apt_configuration_keeps_the_proxy_and_drops_hooks(tmp_path: Path) -> None:
    dump = 'Acquire::http::Proxy "http://proxy.example:3128";\nAPT::Update::Post-Invoke:: "rm /var/x";\n'
    text = private_apt_configuration(tmp_path, tmp_path / "sources.list", dump)
    assert 'Acquire::http::Proxy "http://proxy.example:3128";' in text
    assert "Post-Invoke" not in text
    assert f'Dir::State::Lists "{tmp_path}/lists";' in text


def test_mesa_says_its_version_in_its_library() -> None:
    assert mesa_version(b"\0\0Mesa 25.0.7-2~bpo12+1\0") == (25, 0)
    assert mesa_version(b"\0\0Mesa 22.3.6\0") == (22, 3)
    assert mesa_version(b"nothing here") is None
