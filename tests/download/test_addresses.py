"""Which addresses may be connected to, and which proxies are used."""

import socket

import pytest

from asl.download.addresses import (
    PrivateAddressError,
    check_literal,
    find_proxies,
    is_public,
    public_socket,
)
from asl.errors import UserError

PUBLIC = ["93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8", "2002:808:808::"]
PRIVATE = [
    *("127.0.0.1", "10.1.2.3", "192.168.0.1", "172.16.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"),
    *("::1", "::", "fe80::1%eth0", "fd00::1", "::ffff:10.0.0.1", "2002:7f00:1::", "224.0.0.1", "ff02::1"),
]


@pytest.mark.parametrize("address", PUBLIC)
def test_addresses_of_the_public_internet_are_connected_to(address):
    assert is_public(address)
    check_literal(address)
    public_socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", (address, 80))).close()


@pytest.mark.parametrize("address", PRIVATE)
def test_local_private_and_multicast_addresses_are_not(address):
    assert not is_public(address)
    with pytest.raises(PrivateAddressError, match="its address is local or private"):
        check_literal(address)
    with pytest.raises(PrivateAddressError):
        public_socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", (address, 80)))


def test_a_proxy_resolves_names_but_not_those_of_this_machine():
    for host in ("signs.example", "signs.example.", "134744072"):
        check_literal(host)
    for host in ("localhost", "x.localhost", "localhost.", "127.0.0.1.", "127.1", "2130706433", "0x7f.1"):
        with pytest.raises(PrivateAddressError):
            check_literal(host)


def test_proxies_are_those_of_the_environment(monkeypatch):
    monkeypatch.setenv("http_proxy", "proxy:3128")
    monkeypatch.setenv("all_proxy", "https://other:1")
    monkeypatch.setenv("no_proxy", "signs.example")
    proxy_for = find_proxies()
    assert proxy_for("http", "a.org") == "http://proxy:3128"
    assert proxy_for("https", "a.org") == "https://other:1"
    assert proxy_for("http", "www.signs.example") is None
    for name in ("http_proxy", "all_proxy"):
        monkeypatch.delenv(name)
    assert find_proxies()("http", "a.org") is None


@pytest.mark.parametrize("scheme", ["http", "https", "all"])
def test_a_proxy_of_another_kind_is_an_error(monkeypatch, scheme):
    monkeypatch.setenv(f"{scheme}_proxy", "socks5://proxy:1080")
    with pytest.raises(UserError, match=f"{scheme.upper()}_PROXY=socks5://proxy:1080: a proxy must begin"):
        find_proxies()
