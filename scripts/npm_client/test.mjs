// Drives Locktopus' client through all that it can do, and fails on any mismatch.
//
// node test.mjs ADDRESS DIRECTORY PID: where the server listens, where node_modules is, and the
// server's process, which is told to end in the last test.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { setTimeout as sleep } from 'node:timers/promises';

const [address, directory, pid] = process.argv.slice(2);
const require = createRequire(`${directory}/`);
const { LocktopusClient, LOCK_TYPE } = require('@locktopus/client');
const { WebSocket } = require('ws');
const { version } = require('@locktopus/client/package.json');
const [host, port] = address.split(':');

// A call that never ends is a failure too.
const PATIENCE_MS = 10_000;
const within = (promise) =>
  Promise.race([
    promise,
    sleep(PATIENCE_MS, undefined, { ref: false }).then(() => {
      throw new Error(`not done within ${PATIENCE_MS} ms`);
    }),
  ]);

const write = (...path) => ({ type: LOCK_TYPE.WRITE, path });
const read = (...path) => ({ type: LOCK_TYPE.READ, path });

let namespaces = 0;
const clients = [];

// A function that connects clients in a namespace of their own. Their messages are kept.
function namespace() {
  const name = `test-${++namespaces} ä`;
  return async (options = {}) => {
    const client = new LocktopusClient(WebSocket, {
      host,
      port: Number(port),
      namespace: encodeURIComponent(name),
      secure: false,
      ...options,
    });
    await within(client.connect());
    clients.push(client);
    const messages = [];
    client.onMessage(({ direction, data }) => {
      if (direction === 'in') messages.push(JSON.parse(data));
    });
    return Object.assign(client, { messages });
  };
}

async function acquire(client, ...resources) {
  if (!(await within(client.lock(...resources)))) {
    assert.equal(await within(client.acquire()), true);
  }
}

// Whether it is still waiting for something after a while. For what must not happen: a server that
// is slow makes this pass, and never fail.
async function isPending(promise) {
  const pending = Symbol('pending');
  return (await Promise.race([promise, sleep(50, pending)])) === pending;
}

const tests = {
  async 'a client connects by an address'() {
    const client = new LocktopusClient(WebSocket, `ws://${address}/v1?namespace=plain`);
    assert.equal(client.getState(), 'not_connected');
    await within(client.connect());
    assert.equal(client.getState(), 'ready');
    client.close();
    await within(client.connect());
    client.close();
  },

  async 'an address without a namespace is refused in the handshake'() {
    const client = new LocktopusClient(WebSocket, `ws://${address}/v1`);
    await assert.rejects(within(client.connect()), /400/);
  },

  async 'a lock is acquired at once, released, and acquired again'() {
    const client = await namespace()();
    const ids = new Set();
    for (let round = 0; round < 3; round++) {
      assert.equal(await within(client.lock(write('a', 'b'), read('c'))), true);
      assert.equal(client.getState(), 'acquired');
      assert.equal(client.isAcquired(), true);
      assert.equal(await within(client.acquire()), true, 'it has it already');
      ids.add(client.getLockId());
      await within(client.release());
      assert.equal(client.getState(), 'ready');
      assert.equal(client.isAcquired(), false);
    }
    assert.equal(ids.size, 3, 'each lock has its id');
  },

  async 'a lock that is enqueued is acquired in its turn'() {
    const connect = namespace();
    const [one, two, three] = [await connect(), await connect(), await connect()];
    assert.equal(await within(one.lock(write('a'))), true);
    assert.equal(await within(two.lock(write('a', 'b'))), false);
    assert.equal(two.getState(), 'enqueued');
    assert.equal(await within(three.lock(read('a', 'b', 'c'))), false);
    const order = [];
    const first = two.acquire().then((acquired) => order.push(['two', acquired]));
    const second = three.acquire().then((acquired) => order.push(['three', acquired]));
    assert.ok(await isPending(first));
    const id = two.getLockId();
    await within(one.release());
    await within(first);
    assert.equal(two.getLockId(), id);
    assert.ok(await isPending(second));
    await within(two.release());
    await within(second);
    assert.deepEqual(order, [['two', true], ['three', true]]);
  },

  async 'readers share, siblings do not conflict, and the empty path is everything'() {
    const connect = namespace();
    const [one, two] = [await connect(), await connect()];
    const cases = [
      [read('a'), read('a', 'b'), true],
      [write('a', 'b'), write('a', 'bc'), true],
      [write('a/b'), write('a', 'b'), true],
      [write('a', ''), write('a', '%'), true],
      [write('a'), read('a', 'b'), false],
      [read('a', 'b'), write('a'), false],
      [write(), read('x'), false],
    ];
    for (const [held, asked, acquired] of cases) {
      assert.equal(await within(one.lock(held)), true);
      assert.equal(await within(two.lock(asked)), acquired, JSON.stringify([held, asked]));
      await within(two.release());
      await within(one.release());
    }
  },

  async 'a release while enqueued leaves the queue at once'() {
    const connect = namespace();
    const [one, two, three] = [await connect(), await connect(), await connect()];
    await within(one.lock(write('a')));
    assert.equal(await within(two.lock(write('a'), write('b'))), false);
    assert.equal(await within(three.lock(write('b'))), false);
    const waiting = two.acquire();
    assert.ok(await isPending(waiting));
    await within(two.release());
    assert.equal(await within(waiting), false, 'it was released before it was acquired');
    assert.equal(two.getState(), 'ready');
    // While the first still holds its lock.
    assert.equal(await within(three.acquire()), true);
  },

  async 'a release that crosses the grant gives the lock back'() {
    const connect = namespace();
    const [one, two] = [await connect(), await connect()];
    for (let round = 0; round < 50; round++) {
      await within(one.lock(write('a')));
      assert.equal(await within(two.lock(write('a'))), false);
      await within(Promise.all([one.release(), two.release()]));
    }
    assert.equal(await within(one.lock(write('a'))), true);
  },

  async 'who closes the connection while enqueued leaves the queue at once'() {
    const connect = namespace();
    const [one, two, three] = [await connect(), await connect(), await connect()];
    await within(one.lock(write('a')));
    await within(two.lock(write('a'), write('b')));
    assert.equal(await within(three.lock(write('b'))), false);
    two.close();
    assert.equal(await within(three.acquire()), true);
  },

  async 'the lock of a closed connection ends by the abandon timeout, and not before'() {
    const connect = namespace();
    const abandonTimeoutMs = 300;
    const [one, two] = [await connect({ abandonTimeoutMs }), await connect()];
    await within(one.lock(write('a')));
    assert.equal(await within(two.lock(write('a'))), false);
    const begun = performance.now();
    one.close();
    assert.equal(await within(two.acquire()), true);
    const passed = performance.now() - begun;
    // The server counts whole milliseconds.
    assert.ok(passed >= abandonTimeoutMs - 2, `after ${passed} ms`);
  },

  async 'a silent client keeps its lock for longer than the idle timeout'() {
    const connect = namespace();
    const [one, two] = [await connect({ abandonTimeoutMs: 0 }), await connect()];
    await within(one.lock(write('a')));
    assert.equal(await within(two.lock(write('a'))), false);
    await sleep(2_500);
    await within(one.release());
    assert.equal(await within(two.acquire()), true);
  },

  async 'what the server refuses ends the call and the connection'() {
    const connect = namespace();
    const wrong = [
      [{ type: 'all', path: ['a'] }],
      [{ type: 'read' }],
      [{ type: 'read', path: null }],
      [{ type: 'read', path: 'a' }],
      [read('x'.repeat(256))],
      Array(65).fill(read('a')),
    ];
    for (const resources of wrong) {
      const client = await connect();
      const closed = new Promise((resolve) => client.onConnectionClose(resolve));
      await assert.rejects(within(client.lock(...resources)), /Unexpected response action: error/);
      const { error, message } = client.messages[0];
      const { code, reason } = await within(closed);
      assert.equal(code, 3000);
      assert.ok(`${error}: ${message}`.startsWith(reason) && reason, reason);
      client.close();
      await within(client.connect());
      assert.equal(await within(client.lock(read('a'))), true);
      await within(client.release());
    }
  },

  async 'clients that change a counter lose no update, and their tokens increase'() {
    const connect = namespace();
    const [workers, rounds] = [5, 20];
    let [counter, inside] = [0, 0];
    const tokens = [];
    async function work() {
      const client = await connect();
      for (let round = 0; round < rounds; round++) {
        await acquire(client, write('counter'));
        assert.equal(++inside, 1, 'nobody else is in here');
        tokens.push(client.messages.findLast(({ token }) => token !== undefined).token);
        const before = counter;
        await new Promise(setImmediate);
        counter = before + 1;
        inside--;
        await within(client.release());
      }
    }
    await Promise.all(Array.from({ length: workers }, work));
    assert.equal(counter, workers * rounds);
    assert.equal(tokens.length, workers * rounds);
    assert.ok(tokens.every((token, at) => at === 0 || token > tokens[at - 1]), `${tokens}`);
  },

  async 'a server that ends closes all connections, and nobody waits for ever'() {
    const connect = namespace();
    const [one, two] = [await connect(), await connect()];
    await within(one.lock(write('a')));
    assert.equal(await within(two.lock(write('a'))), false);
    const waiting = two.acquire();
    process.kill(Number(pid), 'SIGTERM');
    await assert.rejects(within(waiting), /Unexpected response action: error/);
    await assert.rejects(within(one.release()), /Unexpected|closed with code 1001/);
  },
};

for (const [name, test] of Object.entries(tests)) {
  try {
    await test();
  } catch (error) {
    console.error(`FAILED: ${name}\n`, error);
    process.exit(1);
  }
  for (const client of clients.splice(0)) client.close();
}
console.log(`@locktopus/client ${version}: ${Object.keys(tests).length} tests passed`);
