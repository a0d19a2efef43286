// A TCP relay in front of the server: the network between a client and the server, which a test can spoil and mend.
import net from 'node:net';

export class Relay {
  #pairs = new Set();
  refused = 0; // connections, since it was made
  #state = 'whole'; // whole, cut (refuses and drops), frozen (carries nothing either way), deaf (carries only to the server)

  static async to(target) {
    const relay = new Relay();
    const { hostname, port } = new URL(target);
    relay.server = net.createServer((client) => relay.#join(client, { host: hostname, port: Number(port || 80) }));
    await new Promise((resolve) => relay.server.listen(0, '127.0.0.1', resolve));
    relay.url = `http://127.0.0.1:${relay.server.address().port}`;
    return relay;
  }

  #join(client, address) {
    if (this.#state === 'cut') {
      this.refused += 1;
      return client.destroy();
    }
    const server = net.connect(address);
    const pair = { client, server };
    this.#pairs.add(pair);
    const end = () => { client.destroy(); server.destroy(); this.#pairs.delete(pair); };
    for (const socket of [client, server]) socket.on('error', end).on('close', end).setNoDelay(true);
    client.on('data', (bytes) => { if (this.#state !== 'frozen') server.write(bytes); });
    server.on('data', (bytes) => { if (this.#state === 'whole') client.write(bytes); });
  }

  // Resets what is connected, and refuses what comes, until mend().
  cut() { this.#state = 'cut'; this.#drop(); }
  // Swallows everything without a word, as a network that is simply gone.
  freeze() { this.#state = 'frozen'; }
  // Still carries what the client says, but none of the answers.
  deafen() { this.#state = 'deaf'; }
  // Connections that missed bytes are useless now; new ones work.
  mend() { this.#drop(); this.#state = 'whole'; }
  close() { this.#drop(); this.server.close(); }

  #drop() {
    for (const { client, server } of this.#pairs) { client.resetAndDestroy(); server.resetAndDestroy(); }
    this.#pairs.clear();
  }
}
