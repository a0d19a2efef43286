"""CHANNEL_LAYERS entries as the section `layer`. No Django project, no Redis."""

import re
import ssl
import unittest

import support  # noqa: F401

from chatferry_compat.layer import layer_entries
from chatferry_compat.toml import document, environment

CORE = "channels_redis.core.RedisChannelLayer"


def values(config, backend=CORE):
    return {entry.name: entry.value for entry in layer_entries({"BACKEND": backend, "CONFIG": config})}


def hosts(*entries):
    return values({"hosts": list(entries)})["hosts"]


class Hosts(unittest.TestCase):
    def test_every_form_that_channels_redis_takes(self):
        for host, address in (
            ("redis://cache:6380/2", "redis://cache:6380/2"),
            ("redis://cache", "redis://cache:6379/0"),
            ("redis://", "redis://localhost:6379/0"),
            ("redis://u:p%40w@cache/1", "redis://u:p%40w@cache:6379/1"),
            ("redis://:pw@cache?db=3", "redis://:pw@cache:6379/3"),
            (b"redis://cache:1/0", "redis://cache:1/0"),
            (("cache", 6380), "redis://cache:6380/0"),
            (["::1", 6380], "redis://[::1]:6380/0"),
            ("unix:///run/redis.sock?db=2&password=x", "unix:///run/redis.sock?db=2&password=x"),
            ("rediss://cache?ssl_cert_reqs=none", "rediss://cache:6379/0?ssl_cert_reqs=none"),
            ({"address": "redis://cache:1/2", "db": 9}, "redis://cache:1/2"),
            ({"address": "rediss://cache", "ssl_ca_certs": "/ca"}, "rediss://cache:6379/0?ssl_ca_certs=/ca"),
            ({"address": "rediss://cache", "ssl_cert_reqs": ssl.CERT_NONE}, "rediss://cache:6379/0?ssl_cert_reqs=none"),
            ({"host": "cache", "password": "p/w", "socket_timeout": None}, "redis://:p%2Fw@cache:6379/0"),
            ({"host": "cache", "port": 1, "ssl": True}, "rediss://cache:1/0"),
            ({"path": "/run/r.sock", "db": 1}, "unix:///run/r.sock?db=1"),
        ):
            self.assertEqual(hosts(host), [address], host)

    def test_sentinels_and_their_own_login(self):
        host = {
            "sentinels": [("s1", 26379), ("s2", 26380)],
            "master_name": "mymaster",
            "db": 4,
            "username": "u",
            "password": "pw",
            "sentinel_kwargs": {"password": "s p"},
        }
        wanted = "sentinel://u:pw@s1:26379,s2:26380/mymaster/4?sentinel_password=s%20p"
        self.assertEqual(hosts(host), [wanted])

    def test_sentinels_and_masters_by_tls(self):
        def of(own, **master):
            config = {"sentinels": [("s1", 26379)], "master_name": "m", "sentinel_kwargs": own, **master}
            (entry,) = (it for it in layer_entries({"BACKEND": CORE, "CONFIG": {"hosts": [config]}}) if it.name == "hosts")
            return entry.value[0].partition("/m")[2], {finding.severity for finding in entry.findings}

        none = {"ssl_cert_reqs": "none"}
        client = {"ssl_certfile": "/c", "ssl_keyfile": "/k", "ssl_check_hostname": False}
        for own, master, query, severities in (
            ({}, {"ssl": True}, "?ssl=true", set()),
            ({"ssl": True}, {}, "?sentinel_ssl=true", set()),
            ({"ssl": True, "ssl_ca_certs": "/a"}, {}, "?sentinel_ssl=true&ssl_ca_certs=/a", set()),
            (
                {"ssl": True, **client},
                {"ssl": True, **client},
                "?ssl=true&sentinel_ssl=true&ssl_certfile=/c&ssl_keyfile=/k&ssl_check_hostname=false",
                set(),
            ),
            # What one of them does not check is checked.
            ({"ssl": True}, {"ssl": True, **none}, "?ssl=true&sentinel_ssl=true", {"breaks"}),
            ({"ssl": True, **none}, {"ssl": True}, "?ssl=true&sentinel_ssl=true", {"breaks"}),
            # Without TLS there is nothing to check.
            (none, none, "", set()),
        ):
            self.assertEqual(of(own, **master), (query, severities), (own, master))

    def test_a_comma_in_a_password_is_quoted_because_variables_are_split_there(self):
        self.assertEqual(hosts("redis://:a,b@h"), ["redis://:a%2Cb@h:6379/0"])

    def test_the_order_stays_because_it_decides_where_names_live(self):
        self.assertEqual(hosts(("b", 1), ("a", 1)), ["redis://b:1/0", "redis://a:1/0"])

    def test_no_hosts_are_this_machine(self):
        self.assertEqual(values({})["hosts"], ["redis://localhost:6379/0"])

    def test_what_cannot_be_mapped_is_told(self):
        config = {"hosts": [{"host": "h", "ssl_certfile": "/c", "credential_provider": 1, "retry": 2}]}
        entry = layer_entries({"BACKEND": CORE, "CONFIG": config})[1]
        found = {(finding.severity, finding.subject) for finding in entry.findings}
        self.assertEqual(found, {("look", "credential_provider")})
        self.assertIn("retry", entry.comments[0])

    def test_options_of_tls_are_kept(self):
        tls = {"ssl": True, "ssl_certfile": "/c", "ssl_keyfile": "/k", "ssl_check_hostname": False}
        query = "ssl_certfile=/c&ssl_keyfile=/k&ssl_check_hostname=false"
        self.assertEqual(hosts({"host": "h", **tls}), [f"rediss://h:6379/0?{query}"])

    def test_an_address_of_no_redis_is_told(self):
        entry = layer_entries({"BACKEND": CORE, "CONFIG": {"hosts": ["amqp://rabbit"]}})[1]
        self.assertEqual([finding.severity for finding in entry.findings], ["breaks"])


class Options(unittest.TestCase):
    def test_every_documented_option(self):
        config = {
            "hosts": [("h", 1)],
            "prefix": "talk",
            "expiry": 30,
            "group_expiry": 3600,
            "capacity": 200,
            "channel_capacity": {"http.request": 10, re.compile(r"^websocket\.send!.+"): 20},
            "symmetric_encryption_keys": ["new", b"old"],
            "random_prefix_length": 8,
            "serializer_format": "json",
        }
        self.assertEqual(
            values(config),
            {
                **config,
                "backend": "redis",
                "hosts": ["redis://h:1/0"],
                "channel_capacity": ["http.request=10", r"re:^websocket\.send!.+=20"],
                "symmetric_encryption_keys": ["new", "old"],
            },
        )

    def test_pubsub_and_memory_are_known(self):
        pubsub = "channels_redis.pubsub.RedisPubSubChannelLayer"
        self.assertEqual(values({"prefix": "x"}, pubsub)["backend"], "redis_pubsub")
        memory = values({"capacity": 7}, "channels.layers.InMemoryChannelLayer")
        self.assertEqual(memory, {"backend": "memory", "capacity": 7})

    def test_a_fraction_of_a_second_is_rounded_and_told(self):
        entry = layer_entries({"BACKEND": CORE, "CONFIG": {"expiry": 0.4}})[-1]
        self.assertEqual((entry.value, entry.findings[0].severity), (1, "look"))

    def test_keys_that_pubsub_ignores_are_not_written(self):
        layer = {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"symmetric_encryption_keys": ["k"]},
        }
        for version, value in (("4.2.0", None), ("4.2.1", ["k"]), (None, ["k"])):
            self.assertEqual(layer_entries(layer, None, version)[-1].value, value)

    def test_an_unknown_option_or_layer_is_told(self):
        first = layer_entries({"BACKEND": CORE, "CONFIG": {"colour": "red", "on_disconnect": print}})[0]
        self.assertEqual([finding.subject for finding in first.findings], ["CONFIG['colour']"])
        for layer in (None, {}, {"BACKEND": "channels_rabbitmq.core.RabbitmqChannelLayer"}):
            (entry,) = layer_entries(layer)
            self.assertEqual((entry.value, entry.findings[0].severity), ("memory", "breaks"))

    def test_a_redis_py_that_ends_idle_sockets_is_told(self):
        for version, count in (("8.1.0", 1), ("5.0.8", 0), (None, 0)):
            self.assertEqual(len(layer_entries({"BACKEND": CORE}, version)[0].findings), count)


class Secrets(unittest.TestCase):
    LAYER = {"BACKEND": CORE, "CONFIG": {"hosts": ["redis://:s3cret@h"], "symmetric_encryption_keys": ["k3y"]}}

    def test_the_file_names_variables_instead(self):
        text = document(layer_entries(self.LAYER))
        self.assertNotRegex(text, "s3cret|k3y")
        self.assertIn('hosts = ["redis://:set-CHATFERRY__LAYER__HOSTS@h:6379/0"]', text)

    def test_the_variables_hold_them(self):
        lines = environment(layer_entries(self.LAYER)).splitlines()
        self.assertIn("CHATFERRY__LAYER__HOSTS=redis://:s3cret@h:6379/0", lines)
        self.assertIn("CHATFERRY__LAYER__SYMMETRIC_ENCRYPTION_KEYS=k3y", lines)

    def test_they_are_shown_when_asked_for(self):
        text = document(layer_entries(self.LAYER), show_secrets=True)
        self.assertIn('hosts = ["redis://:s3cret@h:6379/0"]', text)


if __name__ == "__main__":
    unittest.main()
