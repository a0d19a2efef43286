"""The samples judged by the programs they are for; nothing is started. See `test_moves` for that."""

import re
import subprocess
import unittest

from fronts import HERE, Haproxy, HaproxyGateway, Nginx, NginxGateway, program
from pair import directory
from servers import free_port


class Samples(unittest.TestCase):
    """Without starting anything."""

    def check(self, front):
        if not program(front.program):
            self.skipTest(f"{front.program} is not installed")
        return front(directory(self), free_port(), free_port())

    def test_nginx_takes_its_samples_at_every_share(self):
        front = self.check(Nginx)
        for percent, sampled in ((0, 0), (10, 5), (50, 100), (100, 0)):
            front.write_rollout(percent, sampled)
            good, text = front.check()
            self.assertTrue(good, text)
            self.assertNotIn("[warn]", text)

    def test_haproxy_takes_its_samples_without_a_warning(self):
        for front in (Haproxy, HaproxyGateway):
            good, text = self.check(front).check()
            self.assertTrue(good, text)
            self.assertNotIn("[WARNING]", text)

    def test_nginx_takes_its_sample_before_the_gateway(self):
        good, text = self.check(NginxGateway).check()
        self.assertTrue(good, text)
        self.assertNotIn("[warn]", text)

    def test_systemd_takes_the_units(self):
        analyze = program("systemd-analyze")
        if not analyze:
            self.skipTest("systemd-analyze is not installed")
        copies = []
        for unit in sorted((HERE / "systemd").glob("*.s*")):
            # The programs and users of the units are not on this machine.
            text = re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", unit.read_text(encoding="utf-8"))
            copies.append(directory(self) / unit.name)
            copies[-1].write_text(text, encoding="utf-8")
        done = subprocess.run([analyze, "verify", *copies], capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""))


if __name__ == "__main__":
    unittest.main()
